"""Private database servers for tests: started on free ports of 127.0.0.1, stopped at the end of the session."""
