"""A project as many are: settings with a prefix, a base class and a naming of its own, shared tasks that are found by
themselves, a serializer, routes by a function."""
