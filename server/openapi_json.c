/* SPDX-License-Identifier: MIT
 * openapi_json IN OUT: writes a YAML document as JSON, keys in the same order. Runs while kpid is built and
 * is no part of it. Knows of YAML what openapi.yaml uses: numbers are written as JSON writes them, keys are
 * text. */
#include "base/buf.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { OUTPUT_MAX = 16 << 20, DEPTH_MAX = 64 };

static _Noreturn void fail(const char *what, size_t line, const char *why) {
  fprintf(stderr, "openapi_json: %s:%zu: %s\n", what, line, why);
  exit(1);
}

static const char *skip_digits(const char *s) {
  while (isdigit((unsigned char)*s))
    s++;
  return s;
}

static bool is_json_number(const char *s) {
  s += *s == '-';
  const char *end = *s == '0' ? s + 1 : skip_digits(s);
  if (end == s)
    return false;
  if (*end == '.') {
    s = end + 1;
    end = skip_digits(s);
    if (end == s)
      return false;
  }
  if (*end == 'e' || *end == 'E') {
    s = end + 1 + (end[1] == '-' || end[1] == '+');
    end = skip_digits(s);
    if (end == s)
      return false;
  }
  return *end == '\0';
}

static bool is_json_word(const char *s) {
  return strcmp(s, "true") == 0 || strcmp(s, "false") == 0 || strcmp(s, "null") == 0;
}

static void write_text(struct buf *out, const yaml_node_t *node) {
  buf_add_char(out, '"');
  buf_add_json(out, (struct view){(const char *)node->data.scalar.value, node->data.scalar.length});
  buf_add_char(out, '"');
}

/* What is quoted, or a block, is text whatever it looks like. */
static void write_scalar(struct buf *out, const yaml_node_t *node) {
  const char *text = (const char *)node->data.scalar.value;
  bool plain = node->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
  if (plain && (is_json_number(text) || is_json_word(text)))
    buf_add_cstr(out, text);
  else
    write_text(out, node);
}

static void write_node(struct buf *out, yaml_document_t *document, int index, int depth);

static void write_mapping(struct buf *out, yaml_document_t *document, const yaml_node_t *node, int depth) {
  const yaml_node_pair_t *first = node->data.mapping.pairs.start;
  buf_add_char(out, '{');
  for (const yaml_node_pair_t *pair = first; pair < node->data.mapping.pairs.top; pair++) {
    const yaml_node_t *key = yaml_document_get_node(document, pair->key);
    if (key->type != YAML_SCALAR_NODE)
      fail("document", key->start_mark.line + 1, "a key that is no text");
    if (pair != first)
      buf_add_char(out, ',');
    write_text(out, key);
    buf_add_char(out, ':');
    write_node(out, document, pair->value, depth);
  }
  buf_add_char(out, '}');
}

static void write_sequence(struct buf *out, yaml_document_t *document, const yaml_node_t *node, int depth) {
  const yaml_node_item_t *first = node->data.sequence.items.start;
  buf_add_char(out, '[');
  for (const yaml_node_item_t *item = first; item < node->data.sequence.items.top; item++) {
    if (item != first)
      buf_add_char(out, ',');
    write_node(out, document, *item, depth);
  }
  buf_add_char(out, ']');
}

static void write_node(struct buf *out, yaml_document_t *document, int index, int depth) {
  const yaml_node_t *node = yaml_document_get_node(document, index);
  if (depth == DEPTH_MAX)
    fail("document", node->start_mark.line + 1, "too deep, or an alias of what it is in");
  if (node->type == YAML_MAPPING_NODE)
    write_mapping(out, document, node, depth + 1);
  else if (node->type == YAML_SEQUENCE_NODE)
    write_sequence(out, document, node, depth + 1);
  else
    write_scalar(out, node);
}

static void convert(const char *path, struct buf *out) {
  yaml_parser_t parser;
  yaml_document_t document;
  FILE *in = fopen(path, "rb");
  if (!in || !yaml_parser_initialize(&parser))
    fail(path, 0, "cannot be read");
  yaml_parser_set_input_file(&parser, in);
  if (!yaml_parser_load(&parser, &document))
    fail(path, parser.problem_mark.line + 1, parser.problem);
  if (!yaml_document_get_root_node(&document))
    fail(path, 0, "is empty");
  write_node(out, &document, 1, 0);
  yaml_document_delete(&document);
  yaml_parser_delete(&parser);
  fclose(in);
}

int main(int argc, char **argv) {
  struct buf json;
  if (argc != 3)
    fail("usage", 0, "openapi_json IN OUT");
  buf_init(&json, OUTPUT_MAX);
  convert(argv[1], &json);
  FILE *out = fopen(argv[2], "wb");
  if (!out || buf_failed(&json) || fwrite(json.ptr, 1, json.len, out) != json.len || fclose(out) != 0)
    fail(argv[2], 0, "cannot be written");
  buf_clear(&json);
  return 0;
}
