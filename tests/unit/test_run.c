/* SPDX-License-Identifier: MIT */
#include "server/assets.h"
#include "server/run.h"

#include "unit.h"

/* The moves that the migration inserts, found by their text. */
static bool sql_has_move(const char *sql, enum run_state from, enum run_state to) {
  char move[64];
  snprintf(move, sizeof move, "('%s', '%s')", run_state_name(from), run_state_name(to));
  return strstr(sql, move) != NULL;
}

static void states_move_alike_in_c_and_sql(void **state) {
  (void)state;
  assert_true(asset_migration_count >= 1);
  int allowed = 0;
  for (int from = 0; from < RUN_STATE_COUNT; from++)
    for (int to = 0; to < RUN_STATE_COUNT; to++) {
      bool in_c = run_state_may_move((enum run_state)from, (enum run_state)to);
      allowed += in_c;
      if (in_c != sql_has_move(asset_migrations[0].sql, (enum run_state)from, (enum run_state)to))
        fail_msg("%s -> %s differs", run_state_name((enum run_state)from),
                 run_state_name((enum run_state)to));
    }
  assert_int_equal(allowed, 15);
}

static void names_stand_in_the_schema_and_in_the_description(void **state) {
  (void)state;
  const char *api = (const char *)asset_openapi_yaml;
  for (int s = 0; s < RUN_STATE_COUNT; s++) {
    enum run_state back;
    const char *name = run_state_name((enum run_state)s);
    assert_true(run_state_of(view_of(name), &back));
    assert_int_equal(back, s);
    assert_non_null(strstr(asset_migrations[0].sql, name));
    assert_non_null(strstr(api, name));
  }
  for (int p = PHASE_LISTING; p < PHASE_COUNT; p++) {
    assert_non_null(strstr(asset_migrations[0].sql, run_phase_name((enum run_phase)p)));
    assert_non_null(strstr(api, run_phase_name((enum run_phase)p)));
  }
  for (int c = KPI_OK + 1; c < KPI_MALFORMED_JSON; c++)
    assert_non_null(strstr(api, err_name((enum kpi_code)c)));
}

static void succeeded_is_final(void **state) {
  (void)state;
  for (int to = 0; to < RUN_STATE_COUNT; to++)
    assert_false(run_state_may_move(RUN_SUCCEEDED, (enum run_state)to));
  assert_true(run_state_is_terminal(RUN_CANCELLED));
  assert_false(run_state_is_terminal(RUN_CANCELLING));
}

static void limits_of_bad_rows_are_parsed(void **state) {
  (void)state;
  static const struct {
    const char *text;
    bool ok;
  } cases[] = {{"0", true},     {"100", true},  {"0.5%", true}, {"100%", true},  {"0%", true},
               {"101%", false}, {"-1", false},  {"", false},    {"%", false},    {"x", false},
               {"1.5", false},  {".5%", false}, {"5 %", false}, {"1e1%", false}, {"1.2.3%", false}};
  for (size_t i = 0; i < COUNT_OF(cases); i++) {
    struct bad_rows_limit limit;
    if (bad_rows_limit_parse(view_of(cases[i].text), &limit) != cases[i].ok)
      fail_msg("%s", cases[i].text);
  }
  struct bad_rows_limit limit;
  assert_true(bad_rows_limit_parse(VIEW_LIT("2"), &limit));
  assert_false(bad_rows_exceed(&limit, 2, 2));
  assert_true(bad_rows_exceed(&limit, 3, 1000));
  assert_true(bad_rows_limit_parse(VIEW_LIT("1%"), &limit));
  assert_false(bad_rows_exceed(&limit, 10, 1000));
  assert_true(bad_rows_exceed(&limit, 11, 1000));
  assert_false(bad_rows_exceed(&limit, 0, 0));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(states_move_alike_in_c_and_sql),
      cmocka_unit_test(names_stand_in_the_schema_and_in_the_description),
      cmocka_unit_test(succeeded_is_final),
      cmocka_unit_test(limits_of_bad_rows_are_parsed),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
