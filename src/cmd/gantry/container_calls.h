// SPDX-License-Identifier: Apache-2.0
//
// Calls of the Engine API that several commands share: create with its pull, attach, wait, signals
// and sizes of a container, and the exit code that an error of starting means. One thread.
#pragma once

#include <string>

#include "cmd/gantry/api.h"
#include "cmd/gantry/cli.h"
#include "cmd/gantry/container_options.h"
#include "cmd/gantry/relay.h"
#include "formats/reference.h"

namespace gantry::cli {

// "/containers/NAME" + suffix, the name encoded.
std::string ContainerPath(std::string_view name, std::string_view suffix = "");

// POST /containers/create; pulls a missing image first if the options say so. Prints warnings,
// writes the cid file, joins further networks. Returns the ID.
Result<std::string> CreateContainer(Cli& cli, const Flags& flags, ContainerOptions& options,
                                    ContainerRequest request);

// Pulls with progress on `out`. `reference` as the user wrote it.
Result<> PullImage(Cli& cli, const std::string& reference, const std::string& platform, bool quiet,
                   BorrowedFd out);

// An image's name as the user gave it. Errors are docker's: "invalid reference format".
Result<formats::Reference> ParseImageName(const std::string& text);

// Every tag of the repository.
Result<> PullAllTags(Cli& cli, const formats::Reference& reference, const std::string& platform,
                     bool quiet, BorrowedFd out);

// --platform of commands that take an image apart: each "os[/arch[/variant]]" as the JSON that
// `parameter` has since that version of the API. None: nothing.
Result<> AddPlatforms(Api* api, std::string_view version, const std::vector<std::string>& platforms,
                      std::string_view parameter, wire::Query* query);
// --disable-content-trust, which is always so: the engine has no signatures to look for.
void BindContentTrust(Flags* flags);

struct AttachStreams {
  bool in = false;
  bool out = true;
  bool err = true;
  std::string detach_keys;
};
ApiRequest AttachRequest(std::string_view id, const AttachStreams& streams);
// `condition`: "next-exit", "removed" or "" (not running).
ApiRequest WaitRequest(std::string_view id, std::string_view condition);
// The container's exit code from the answer to WaitRequest.
Result<int> ReadExitCode(ApiStream& wait);

// What Relay calls: errors are of no interest, the container may have ended.
void SendSignal(Api& api, std::string_view id, int signal);
void ResizeTerminal(Api& api, const std::string& path, unsigned rows, unsigned columns);
// Resizes to standard output's present size.
void ResizeToOurs(Api& api, const std::string& path);

// "the input device is not a TTY" when `input` and `terminal` are asked for without one.
Result<> CheckInputTerminal(bool input, bool terminal);
// --detach-keys, else detachKeys of config.json, else "".
Result<std::string> DetachKeysOf(Cli& cli, const std::string& flag);

// 127 when the program is missing, 126 when it can't be executed, else 125.
int StartFailureCode(std::string_view message);
std::string_view SignalName(int signal);

}  // namespace gantry::cli
