"""Language models behind an OpenAI-compatible server: a client with a cost ceiling, and replies kept on disk.

Replies of models that run on this machine are kept in the same kind of file (`cache`).
"""
