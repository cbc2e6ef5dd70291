"""`spanloom demo`: a PocketFlow program (`support`) and the loopback model server it talks to (`server`)."""
