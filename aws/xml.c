/* SPDX-License-Identifier: MIT */
#include "aws/xml.h"

#include "base/scope.h"

#include <expat.h>

enum { DEPTH_MAX = 16, PATH_BYTES_MAX = 1024 };

struct walk {
  XML_Parser parser;
  xml_element_fn fn;
  void *arg;
  struct buf path, text;
  size_t text_starts[DEPTH_MAX]; /* where the text of each open element begins */
  int depth;
  bool failed;
};

static void fail(struct walk *w) {
  w->failed = true;
  XML_StopParser(w->parser, XML_FALSE);
}

static void on_start(void *arg, const XML_Char *name, const XML_Char **attributes) {
  struct walk *w = arg;
  (void)attributes;
  if (w->depth == DEPTH_MAX) {
    fail(w);
    return;
  }
  if (w->depth)
    buf_add_char(&w->path, '/');
  buf_add_cstr(&w->path, name);
  w->text_starts[w->depth++] = w->text.len;
  if (buf_failed(&w->path))
    fail(w);
}

static void on_text(void *arg, const XML_Char *bytes, int len) {
  struct walk *w = arg;
  buf_add(&w->text, (struct view){bytes, (size_t)len});
  if (buf_failed(&w->text))
    fail(w);
}

static void on_end(void *arg, const XML_Char *name) {
  struct walk *w = arg;
  if (w->failed) /* expat still ends an empty element at whose start the walk was given up */
    return;
  size_t start = w->text_starts[--w->depth], name_len = view_of(name).len;
  struct view text = {w->text.ptr ? w->text.ptr + start : NULL, w->text.len - start};
  if (!w->fn(w->arg, buf_view(&w->path), text))
    fail(w);
  w->text.len = start;
  w->path.len -= name_len + (w->depth > 0);
}

static void on_doctype(void *arg, const XML_Char *name, const XML_Char *system_id, const XML_Char *public_id,
                       int has_internal_subset) {
  (void)name;
  (void)system_id;
  (void)public_id;
  (void)has_internal_subset;
  fail(arg);
}

bool xml_walk(struct view document, xml_element_fn fn, void *arg) {
  struct walk w = {.fn = fn, .arg = arg};
  if (document.len > XML_BYTES_MAX || (w.parser = XML_ParserCreate("UTF-8")) == NULL)
    return false;
  buf_init(&w.path, PATH_BYTES_MAX);
  buf_init(&w.text, XML_BYTES_MAX);
  XML_SetUserData(w.parser, &w);
  XML_SetElementHandler(w.parser, on_start, on_end);
  XML_SetCharacterDataHandler(w.parser, on_text);
  XML_SetStartDoctypeDeclHandler(w.parser, on_doctype);
  bool ok = XML_Parse(w.parser, document.ptr, (int)document.len, XML_TRUE) == XML_STATUS_OK && !w.failed;
  XML_ParserFree(w.parser);
  buf_clear(&w.path);
  buf_clear(&w.text);
  return ok;
}
