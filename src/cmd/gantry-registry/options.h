// SPDX-License-Identifier: Apache-2.0
//
// The command line of gantry-registry. Plain data.
#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace gantry::distribution {

struct Options {
  std::string root;
  bool store = false;     // the images of a container daemon instead of a directory
  bool writable = false;  // what is pushed becomes an image of that daemon
  std::string containerd = "/run/gantry/containerd.sock";
  std::string name_space = "gantry";
  std::vector<std::string> addresses;  // HOST:PORT or unix:///PATH
  std::string certificate;             // PEM files; empty: plain HTTP
  std::string key;
  std::string client_authority;
  std::string passwords;
  bool anonymous_pull = false;
  bool read_only = false;
  bool help = false;
  bool version = false;
};

// kInvalidArgument names the flag that is wrong.
Result<Options> ParseOptions(const std::vector<std::string>& arguments);
extern const char* const kUsage;

}  // namespace gantry::distribution
