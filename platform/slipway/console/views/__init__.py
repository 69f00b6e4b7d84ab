"""The console's pages. They translate: rules live in the rooms' services, words in templates."""
