"""Everything that can be switched on."""
