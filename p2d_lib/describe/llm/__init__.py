"""Language models behind a server: a client with a cost ceiling and a cache of replies, and how replies are parsed."""
