"""Helpers of the black-box tests; nothing here knows how the program is built."""
