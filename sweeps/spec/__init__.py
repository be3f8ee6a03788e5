"""The sweep file: its schema, YAML with positions, all checks, recipes by name, plug-ins."""
