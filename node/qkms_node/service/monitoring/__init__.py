"""What a node makes of its looks at its QKD links: figures, alarms, and their history."""
