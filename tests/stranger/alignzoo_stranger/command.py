def arguments(page):
    page.add_argument("word")


def run(args):
    print(args.word)
    return 0
