"""What whoever runs Slipway does with it: back up, restore, upgrade, rotate keys, install as services."""
