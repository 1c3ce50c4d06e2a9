// SPDX-License-Identifier: Apache-2.0
//
// Files from the web, for ADD and for contexts that are a URL. Any thread; a call blocks.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.h"
#include "base/stop_token.h"
#include "base/unique_fd.h"

namespace gantry::build {

// What the last part of a URL's path says; "" when it ends in a slash.
std::string NameOfUrl(std::string_view url);

// Into a new file, 0600, whose time is that of the answer's Last-Modified. Returns the digest of
// its contents.
Result<std::string> DownloadFile(const std::string& url, BorrowedFd directory,
                                 const std::string& name, const StopToken& stop);

// What such a file's answer said of its time, seconds since 1970; nothing where it said none.
Result<std::optional<int64_t>> DownloadTime(BorrowedFd directory, const std::string& name);

}  // namespace gantry::build
