"""What happens when processes die, messages are lost or doubled, and handlers misbehave."""
