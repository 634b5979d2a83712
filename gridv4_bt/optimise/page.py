def write_page(path, result):
    path.write_text("")
