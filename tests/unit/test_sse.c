/* SPDX-License-Identifier: MIT */
#include "base/scope.h"
#include "server/sse.h"

#include "unit.h"

static void an_event_has_name_id_and_data(void **state) {
  (void)state;
  auto_buf struct buf out;
  buf_init(&out, 1024);
  sse_event(&out, "run.queued", 12, VIEW_LIT("{\"a\":1}"));
  sse_event(&out, "run.progress", SSE_NO_ID, VIEW_LIT("{}"));
  sse_event(&out, "snapshot", 0, VIEW_LIT(""));
  assert_view(buf_view(&out), "event: run.queued\nid: 12\ndata: {\"a\":1}\n\n"
                              "event: run.progress\ndata: {}\n\n"
                              "event: snapshot\nid: 0\ndata: \n\n");
}

/* A line end of any kind inside the data would end its field: each line gets a field of its own. */
static void every_line_of_data_is_a_field(void **state) {
  (void)state;
  static const struct {
    const char *data, *text;
  } cases[] = {{"a", "data: a\n"},
               {"a\nb", "data: a\ndata: b\n"},
               {"a\rb", "data: a\ndata: b\n"},
               {"a\r\nb", "data: a\ndata: b\n"},
               {"a\n\rb", "data: a\ndata: \ndata: b\n"},
               {"a\n", "data: a\ndata: \n"},
               {"\r\n", "data: \ndata: \n"},
               {"id: 7", "data: id: 7\n"},
               {"", "data: \n"}};
  auto_buf struct buf out;
  buf_init(&out, 1024);
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    buf_reset(&out);
    sse_data(&out, view_of(cases[i].data));
    assert_view(buf_view(&out), cases[i].text);
  }
}

static void comments_and_retry_are_blocks_of_their_own(void **state) {
  (void)state;
  auto_buf struct buf out;
  buf_init(&out, 1024);
  sse_retry(&out, 2000);
  sse_comment(&out, "heartbeat");
  assert_view(buf_view(&out), "retry: 2000\n\n: heartbeat\n\n");
}

static void data_comes_in_pieces(void **state) {
  (void)state;
  auto_buf struct buf out;
  buf_init(&out, 1024);
  sse_begin(&out, "snapshot", 3);
  sse_data(&out, VIEW_LIT("["));
  sse_data(&out, VIEW_LIT("]"));
  sse_end(&out);
  assert_view(buf_view(&out), "event: snapshot\nid: 3\ndata: [\ndata: ]\n\n");
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(an_event_has_name_id_and_data),
      cmocka_unit_test(every_line_of_data_is_a_field),
      cmocka_unit_test(comments_and_retry_are_blocks_of_their_own),
      cmocka_unit_test(data_comes_in_pieces),
  };
  return cmocka_run_group_tests_name("sse", tests, NULL, NULL);
}
