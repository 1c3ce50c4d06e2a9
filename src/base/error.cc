// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace gantry {

std::string_view ErrorKindName(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kCancelled:
      return "CANCELLED";
    case ErrorKind::kUnknown:
      return "UNKNOWN";
    case ErrorKind::kInvalidArgument:
      return "INVALID_ARGUMENT";
    case ErrorKind::kDeadlineExceeded:
      return "DEADLINE_EXCEEDED";
    case ErrorKind::kNotFound:
      return "NOT_FOUND";
    case ErrorKind::kAlreadyExists:
      return "ALREADY_EXISTS";
    case ErrorKind::kPermissionDenied:
      return "PERMISSION_DENIED";
    case ErrorKind::kResourceExhausted:
      return "RESOURCE_EXHAUSTED";
    case ErrorKind::kFailedPrecondition:
      return "FAILED_PRECONDITION";
    case ErrorKind::kAborted:
      return "ABORTED";
    case ErrorKind::kOutOfRange:
      return "OUT_OF_RANGE";
    case ErrorKind::kUnimplemented:
      return "UNIMPLEMENTED";
    case ErrorKind::kInternal:
      return "INTERNAL";
    case ErrorKind::kUnavailable:
      return "UNAVAILABLE";
    case ErrorKind::kDataLoss:
      return "DATA_LOSS";
    case ErrorKind::kUnauthenticated:
      return "UNAUTHENTICATED";
  }
  return "UNKNOWN";
}

Error& Error::AddContext(std::string_view context) & {
  message_.insert(0, ": ").insert(0, context);
  return *this;
}

Error& Error::AddHint(std::string_view hint) & {
  message_.append(" (").append(hint).append(")");
  return *this;
}

ErrorKind KindOfErrno(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ESRCH:
    case ENODEV:
    case ENXIO:
      return ErrorKind::kNotFound;
    case EEXIST:
      return ErrorKind::kAlreadyExists;
    case EACCES:
    case EPERM:
    case EROFS:
      return ErrorKind::kPermissionDenied;
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
      return ErrorKind::kResourceExhausted;
    case EINVAL:
    case ENAMETOOLONG:
    case ELOOP:
      return ErrorKind::kInvalidArgument;
    case ETIMEDOUT:
      return ErrorKind::kDeadlineExceeded;
    case ECANCELED:
      return ErrorKind::kCancelled;
    case ENOSYS:
    case EOPNOTSUPP:
      return ErrorKind::kUnimplemented;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case EAGAIN:
      return ErrorKind::kUnavailable;
    case EBUSY:
    case ENOTEMPTY:
    case ENOTDIR:
    case EISDIR:
      return ErrorKind::kFailedPrecondition;
    default:
      return ErrorKind::kInternal;
  }
}

Error ErrnoErrorOf(int error_number, std::string_view context) {
  // strerrordesc_np needs no buffer and is safe in any thread (glibc 2.32).
  const char* text = strerrordesc_np(error_number);
  std::string message(context);
  message.append(": ");
  if (text == nullptr) {
    message.append(fmt::format("errno {}", error_number));
  } else {
    size_t at = message.size();
    message.append(text);
    // "No such file" reads as "no such file" inside a line, "RPC …" stays.
    if (std::islower(static_cast<unsigned char>(text[0] != '\0' ? text[1] : 'A')) != 0 ||
        text[1] == ' ') {
      message[at] = static_cast<char>(std::tolower(static_cast<unsigned char>(message[at])));
    }
  }
  return Error(KindOfErrno(error_number), std::move(message), error_number);
}

void CheckFailed(const char* file, int line, const char* expression) {
  std::fprintf(stderr, "%s:%d: check failed: %s\n", file, line, expression);
  std::abort();
}

}  // namespace gantry
