"""Images from and to registries: the Distribution protocol's client side."""
