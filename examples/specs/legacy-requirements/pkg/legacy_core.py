import humanize


def size(number):
    return humanize.naturalsize(number, binary=True)
