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
    {"diff|container diff", "CONTAINER", "Show what a container has changed in its files",
     DiffCommand},
    {"container prune", "[OPTIONS]", "Remove all stopped containers", ContainerPruneCommand},
    {"image prune", "[OPTIONS]", "Remove unused images", ImagePruneCommand},
    {"network connect", "[OPTIONS] NETWORK CONTAINER", "Let a container join a network",
     NetworkConnectCommand},
    {"network create", "[OPTIONS] NETWORK", "Make a network", NetworkCreateCommand},
    {"network disconnect", "[OPTIONS] NETWORK CONTAINER", "Take a container out of a network",
     NetworkDisconnectCommand},
    {"network ls|network list", "[OPTIONS]", "List networks", NetworkListCommand},
    {"network prune", "[OPTIONS]", "Remove unused networks", NetworkPruneCommand},
    {"network rm|network remove", "NETWORK [NETWORK...]", "Remove networks", NetworkRmCommand},
    {"volume create", "[OPTIONS] [VOLUME]", "Make a volume", VolumeCreateCommand},
    {"volume ls|volume list", "[OPTIONS]", "List volumes", VolumeListCommand},
    {"volume prune", "[OPTIONS]", "Remove unused volumes", VolumePruneCommand},
    {"volume rm|volume remove", "[OPTIONS] VOLUME [VOLUME...]", "Remove volumes", VolumeRmCommand},
    {"events|system events", "[OPTIONS]", "Show what happens, as it happens", EventsCommand},
    {"history|image history", "[OPTIONS] IMAGE", "Show how an image was made", HistoryCommand},
    {"images|image ls|image list", "[OPTIONS] [REPOSITORY[:TAG]]", "List images", ImagesCommand},
    {"info|system info", "[OPTIONS]", "Show the state of the engine", InfoCommand},
    {"inspect", "[OPTIONS] NAME|ID [NAME|ID...]", "Show all that is known of objects",
     InspectCommand},
    {"container inspect", kContainers, "Show all that is known of containers",
     InspectContainerCommand},
    {"image inspect", "[OPTIONS] IMAGE [IMAGE...]", "Show all that is known of images",
     InspectImageCommand},
    {"network inspect", "[OPTIONS] NETWORK [NETWORK...]", "Show all that is known of networks",
     InspectNetworkCommand},
    {"volume inspect", "[OPTIONS] VOLUME [VOLUME...]", "Show all that is known of volumes",
     InspectVolumeCommand},
    {"load|image load", "[OPTIONS]", "Load images from a tar archive", LoadCommand},
    {"logs|container logs", kOneContainer, "Show what a container has written", LogsCommand},
    {"ps|container ls|container list|container ps", "[OPTIONS]", "List containers", PsCommand},
    {"pull|image pull", "[OPTIONS] NAME[:TAG|@DIGEST]", "Fetch an image from a registry",
     PullCommand},
    {"rmi|image rm|image remove", "[OPTIONS] IMAGE [IMAGE...]", "Remove images", RmiCommand},
    {"save|image save", "[OPTIONS] IMAGE [IMAGE...]", "Write images to a tar archive", SaveCommand},
    {"tag|image tag", "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", "Give an image a further name",
     TagCommand},
    {"version", "[OPTIONS]", "Show the versions of client and engine", VersionCommand},
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
    {"update|container update", kPlainContainers, "Change limits and restart policy",
     UpdateCommand},
    {"wait|container wait", kPlainContainers, "Wait until containers stop, print their exit codes",
     WaitCommand},
};

}  // namespace

std::span<const Command> Commands() { return kCommands; }

}  // namespace gantry::cli
