// SPDX-License-Identifier: Apache-2.0
//
// The table of all commands.
#include "cmd/gantry/command_list.h"

namespace gantry::cli {
namespace {

constexpr std::string_view kOneContainer = "[OPTIONS] CONTAINER";
constexpr std::string_view kContainers = "[OPTIONS] CONTAINER [CONTAINER...]";
constexpr std::string_view kPlainContainers = "CONTAINER [CONTAINER...]";
constexpr std::string_view kImageCommand = "[OPTIONS] IMAGE [COMMAND] [ARG...]";

constexpr Command kCommands[] = {
    {"attach|container attach", kOneContainer, "Join standard streams to a running container's",
     AttachCommand},
    {"create|container create", kImageCommand, "Make a container without starting it",
     CreateCommand},
    {"exec|container exec", "[OPTIONS] CONTAINER COMMAND [ARG...]",
     "Run a command in a running container", ExecCommand},
    {"kill|container kill", kContainers, "Kill running containers", KillCommand},
    {"pause|container pause", kPlainContainers, "Freeze all processes of containers", PauseCommand},
    {"port|container port", "CONTAINER [PRIVATE_PORT[/PROTO]]",
     "List a container's published ports, or one", PortCommand},
    {"rename|container rename", "CONTAINER NEW_NAME", "Rename a container", RenameCommand},
    {"restart|container restart", kContainers, "Stop containers and start them again",
     RestartCommand},
    {"rm|container rm|container remove", kContainers, "Remove containers", RmCommand},
    {"run|container run", kImageCommand, "Make a container from an image and run it", RunCommand},
    {"start|container start", kContainers, "Start stopped containers", StartCommand},
    {"stop|container stop", kContainers, "Stop running containers", StopCommand},
    {"top|container top", "CONTAINER [ps OPTIONS]", "List a container's processes", TopCommand},
    {"unpause|container unpause", kPlainContainers, "Let frozen containers go on", UnpauseCommand},
    {"wait|container wait", kPlainContainers, "Wait until containers stop, print their exit codes",
     WaitCommand},
};

}  // namespace

std::span<const Command> Commands() { return kCommands; }

}  // namespace gantry::cli
