/* SPDX-License-Identifier: MIT
 * What every engine asks of a day once its rows and its tally are known: its quality report, and whether it
 * must fail for what the tally holds. */
#ifndef KPID_PIPELINE_DAY_JUDGE_H
#define KPID_PIPELINE_DAY_JUDGE_H

#include "pipeline/quality.h"

/* True, with err filled, when a day has more categories than a publish can hold. */
bool day_has_too_many_categories(day_t day, uint64_t categories, struct err *err);

/* Writes the quality report of a day. *fails: too many of its rows were left out, *why tells of the first.
 * Errors: KPI_OUT_OF_MEMORY. */
KPI_MUST_CHECK enum kpi_code day_judge(const struct quality_facts *facts, struct quality *out, bool *fails,
                                       struct err *why, struct err *err);

#endif
