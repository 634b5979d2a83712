"""The phases of matching on both legs of a book."""

from gridv4_bt.engine import matching


def fill_market_orders(book):
    matching.fill_market_orders(book, book.long)
    matching.fill_market_orders(book, book.short)


def fill_entries(book, down=0.0, up=matching.INFINITY):
    matching.fill_entries(book, book.long, down, up)
    matching.fill_entries(book, book.short, down, up)


def fill_stops(book, down=0.0, up=matching.INFINITY):
    matching.fill_stops(book, book.long, down, up)
    matching.fill_stops(book, book.short, down, up)


def fill_exits(book):
    matching.fill_exits(book, book.long)
    matching.fill_exits(book, book.short)


PHASES = (fill_market_orders, fill_entries, fill_stops, fill_exits)
