"""Language models behind a server: the client, what it may spend, what it has received, and how replies are parsed."""
