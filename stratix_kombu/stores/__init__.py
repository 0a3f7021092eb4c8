"""Where the truth about jobs lives. One contract, several stores."""
