// SPDX-License-Identifier: Apache-2.0
//
// What an HTTP answer's status says of our errors: the other way round than docs/errors.md. Pure.
#pragma once

#include "base/error.h"

namespace gantry::wire {

// `otherwise`: of a status that has no kind of its own.
inline ErrorKind KindOfStatus(int status, ErrorKind otherwise) {
  switch (status) {
    case 400:
      return ErrorKind::kInvalidArgument;
    case 401:
      return ErrorKind::kUnauthenticated;
    case 403:
      return ErrorKind::kPermissionDenied;
    case 404:
      return ErrorKind::kNotFound;
    case 409:
      return ErrorKind::kFailedPrecondition;
    case 416:
      return ErrorKind::kOutOfRange;
    case 429:
      return ErrorKind::kResourceExhausted;
    case 501:
      return ErrorKind::kUnimplemented;
    case 503:
      return ErrorKind::kUnavailable;
    default:
      return otherwise;
  }
}

}  // namespace gantry::wire
