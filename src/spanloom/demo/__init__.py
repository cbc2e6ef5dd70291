"""`spanloom demo`: a PocketFlow program (`support`), a LangGraph program (`research`), and their model server."""
