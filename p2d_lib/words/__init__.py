"""Features -> words, words -> features, rewording, and the choice of whose words count."""
