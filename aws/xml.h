/* SPDX-License-Identifier: MIT
 * Walks a small XML document. The only user of expat. Knows no service. */
#ifndef KPID_AWS_XML_H
#define KPID_AWS_XML_H

#include "base/buf.h"

enum { XML_BYTES_MAX = 4 * 1024 * 1024 };

/* Called at the end of each element with its path ("ListBucketResult/Contents/Key") and the text directly in
 * it. False ends the walk. */
typedef bool (*xml_element_fn)(void *arg, struct view path, struct view text);

/* Walks a whole document. False when it is not well-formed, declares a document type (no entities), is nested
 * more than 16 deep, larger than XML_BYTES_MAX, or fn said so. */
KPI_MUST_CHECK bool xml_walk(struct view document, xml_element_fn fn, void *arg);

#endif
