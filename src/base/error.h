// SPDX-License-Identifier: Apache-2.0
//
// Errors are values. What can fail returns Result<T>: a value, or an Error with a kind (the gRPC
// status codes), an errno if a system call was the cause, and one line of context, outermost first:
//
//   mounting 'proc' on '/proc': operation not permitted
//
// TRY(expr) yields the value or returns the error to the caller; TRY_WITH adds context, formatted
// only on failure. Any thread; plain data.
#pragma once

#include <fmt/core.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace gantry {

// The numbers are gRPC's status codes; docs/errors.md maps them to HTTP and exit codes.
enum class ErrorKind : uint8_t {
  kCancelled = 1,
  kUnknown = 2,
  kInvalidArgument = 3,
  kDeadlineExceeded = 4,
  kNotFound = 5,
  kAlreadyExists = 6,
  kPermissionDenied = 7,
  kResourceExhausted = 8,
  kFailedPrecondition = 9,
  kAborted = 10,
  kOutOfRange = 11,
  kUnimplemented = 12,
  kInternal = 13,
  kUnavailable = 14,
  kDataLoss = 15,
  kUnauthenticated = 16,
};

// The kind's name as gRPC spells it, such as "NOT_FOUND".
std::string_view ErrorKindName(ErrorKind kind);

class [[nodiscard]] Error {
 public:
  Error(ErrorKind kind, std::string message, int error_number = 0)
      : kind_(kind), errno_(error_number), message_(std::move(message)) {}

  ErrorKind kind() const { return kind_; }
  // The errno of the system call that failed, or 0.
  int error_number() const { return errno_; }
  const std::string& message() const { return message_; }

  // Puts "context: " before the message.
  Error& AddContext(std::string_view context) &;
  Error&& AddContext(std::string_view context) && { return std::move(AddContext(context)); }
  // Appends " (hint)": what a known trap is and how to get out of it.
  Error& AddHint(std::string_view hint) &;
  Error& SetKind(ErrorKind kind) & {
    kind_ = kind;
    return *this;
  }

 private:
  ErrorKind kind_;
  int errno_;
  std::string message_;
};

// The kind that an errno means when nothing better is known.
ErrorKind KindOfErrno(int error_number);

// An Error from an errno value: message "context: strerror" in lower case.
Error ErrnoErrorOf(int error_number, std::string_view context);

// Same with the current errno and a formatted context: ErrnoError("opening '{}'", path).
template <typename... Args>
Error ErrnoError(fmt::format_string<Args...> format, Args&&... args) {
  int saved = errno;
  return ErrnoErrorOf(saved, fmt::format(format, std::forward<Args>(args)...));
}

template <typename... Args>
Error MakeError(ErrorKind kind, fmt::format_string<Args...> format, Args&&... args) {
  return Error(kind, fmt::format(format, std::forward<Args>(args)...));
}
template <typename... Args>
Error InvalidArgument(fmt::format_string<Args...> format, Args&&... args) {
  return MakeError(ErrorKind::kInvalidArgument, format, std::forward<Args>(args)...);
}
template <typename... Args>
Error NotFound(fmt::format_string<Args...> format, Args&&... args) {
  return MakeError(ErrorKind::kNotFound, format, std::forward<Args>(args)...);
}
template <typename... Args>
Error AlreadyExists(fmt::format_string<Args...> format, Args&&... args) {
  return MakeError(ErrorKind::kAlreadyExists, format, std::forward<Args>(args)...);
}
template <typename... Args>
Error FailedPrecondition(fmt::format_string<Args...> format, Args&&... args) {
  return MakeError(ErrorKind::kFailedPrecondition, format, std::forward<Args>(args)...);
}
template <typename... Args>
Error Unimplemented(fmt::format_string<Args...> format, Args&&... args) {
  return MakeError(ErrorKind::kUnimplemented, format, std::forward<Args>(args)...);
}
template <typename... Args>
Error Unavailable(fmt::format_string<Args...> format, Args&&... args) {
  return MakeError(ErrorKind::kUnavailable, format, std::forward<Args>(args)...);
}
template <typename... Args>
Error Internal(fmt::format_string<Args...> format, Args&&... args) {
  return MakeError(ErrorKind::kInternal, format, std::forward<Args>(args)...);
}

template <typename T = void>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT
  template <typename U>
    requires(std::is_convertible_v<U, T> && !std::is_same_v<std::remove_cvref_t<U>, T> &&
             !std::is_same_v<std::remove_cvref_t<U>, Error> &&
             !std::is_same_v<std::remove_cvref_t<U>, Result>)
  Result(U&& value) : state_(std::in_place_index<0>, std::forward<U>(value)) {}  // NOLINT

  bool ok() const { return state_.index() == 0; }
  T& value() & { return std::get<0>(state_); }
  const T& value() const& { return std::get<0>(state_); }
  T&& value() && { return std::get<0>(std::move(state_)); }
  T value_or(T fallback) && { return ok() ? std::move(*this).value() : std::move(fallback); }
  Error& error() & { return std::get<1>(state_); }
  const Error& error() const& { return std::get<1>(state_); }
  Error&& error() && { return std::get<1>(std::move(state_)); }

  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT

  bool ok() const { return !error_.has_value(); }
  void value() const {}
  Error& error() & { return *error_; }
  const Error& error() const& { return *error_; }
  Error&& error() && { return *std::move(error_); }

 private:
  std::optional<Error> error_;
};

[[noreturn]] void CheckFailed(const char* file, int line, const char* expression);

}  // namespace gantry

// Both macros are GNU statement expressions, which g++ and clang accept with extensions off.
#define TRY(...)                                   \
  __extension__({                                  \
    auto&& gantry_try_result = (__VA_ARGS__);      \
    if (!gantry_try_result.ok()) [[unlikely]]      \
      return std::move(gantry_try_result).error(); \
    std::move(gantry_try_result).value();          \
  })

#define TRY_WITH(expr, ...)                                                               \
  __extension__({                                                                         \
    auto&& gantry_try_result = (expr);                                                    \
    if (!gantry_try_result.ok()) [[unlikely]]                                             \
      return std::move(gantry_try_result).error().AddContext(::fmt::format(__VA_ARGS__)); \
    std::move(gantry_try_result).value();                                                 \
  })

// A bug of ours, never bad input: prints file, line and expression, then aborts.
#define CHECK(expr) \
  (static_cast<bool>(expr) ? void(0) : ::gantry::CheckFailed(__FILE__, __LINE__, #expr))
