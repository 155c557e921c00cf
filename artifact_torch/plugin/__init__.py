"""The plugin system: hook specifications, discovery from metadata, the component registry, dispatch."""
