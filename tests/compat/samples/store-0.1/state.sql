BEGIN TRANSACTION;
CREATE TABLE "checkpoints" (
	"key" TEXT NOT NULL, 
	"revision" VARCHAR(64) NOT NULL, 
	"document" TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "checkpoints" VALUES('orders','revision-of-orders','{"job_name":"orders","positions":{"orders.jsonl":{"offset":4096,"inode":77,"fraction":0.5,"beyond":1208925819614629174706176}},"fingerprint":"file:in:orders.jsonl","sequence":12,"epoch":3,"run_id":"0f9c","saved_at":"2026-11-25T08:09:59Z"}');
CREATE TABLE "jobs" (
	"key" TEXT NOT NULL, 
	"revision" VARCHAR(64) NOT NULL, 
	"document" TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "jobs" VALUES('orders','revision-of-orders','{"name":"orders","state":"running","desired_state":"running","intent":"running","phase":"running","linked_services":["in","shop"],"pipeline":{"name":"orders","source":{"service_name":"in","resource":"orders.jsonl"},"sinks":[{"service_name":"shop","resource":"orders"}]},"started_at":"2026-11-25T08:00:00.123456Z","stopped_at":null,"run_id":"0f9c","epoch":3,"attempts":0}');
INSERT INTO "jobs" VALUES('größen','revision-of-größen','{"name":"gr\u00f6\u00dfen","state":"stopped","desired_state":"stopped","intent":"paused","linked_services":[],"pipeline":{"name":"gr\u00f6\u00dfen","source":{"service_name":"in","resource":"sizes.jsonl"},"sinks":[{"service_name":"shop","resource":"sizes"}]},"stopped_at":"2026-11-25T08:10:00Z","epoch":3}');
CREATE TABLE "mstream-version" (
	"key" TEXT NOT NULL, 
	"revision" VARCHAR(64) NOT NULL, 
	"document" TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "mstream-version" VALUES('layout','272a5b4dfad87c1fa9170fb626e6a7a1','{"name":"layout","version":1}');
CREATE TABLE "odd" (
	"key" TEXT NOT NULL, 
	"revision" VARCHAR(64) NOT NULL, 
	"document" TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "odd" VALUES('tags','revision-of-tags','{"name":"tags","a":{"$plain":[["$bytes","eA=="]]},"b":{"$plain":[["$time","never"]]},"c":{"$plain":[["$plain",[["$bytes","eA=="]]]]},"":{"a.b":{"\u0000":[]}}}');
CREATE TABLE "services" (
	"key" TEXT NOT NULL, 
	"revision" VARCHAR(64) NOT NULL, 
	"document" TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "services" VALUES('shop','revision-of-shop','{"name":"shop","data":{"$bytes":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLS4v"},"nonce":{"$bytes":"AAECAwQFBgcICQoL"},"updated_at":{"$time":"2026-11-25T08:00:00.123456+00:00"},"kid":"k1"}');
COMMIT;
