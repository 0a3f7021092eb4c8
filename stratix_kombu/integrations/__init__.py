"""At home in other programs: each module here is for one of them, and imports it when it is imported itself."""
