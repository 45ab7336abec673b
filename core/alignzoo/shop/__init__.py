"""Getting plugins and looking after them: search, install, lock, doctor. Light, like the seam below it: what runs a plugin's
code does so in a process of its own."""


class ShopError(ValueError):
    """Something that cannot be got, is not to be trusted, or is not as it was."""
