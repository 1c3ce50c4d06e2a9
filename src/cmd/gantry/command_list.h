// SPDX-License-Identifier: Apache-2.0
//
// The commands' functions; commands.cc puts them into the table.
#pragma once

#include "cmd/gantry/cli.h"
#include "cmd/gantry/command.h"

namespace gantry::cli {

Result<int> AttachCommand(Cli& cli, Invocation& call);
Result<int> BuildCommand(Cli& cli, Invocation& call);
Result<int> BuilderPruneCommand(Cli& cli, Invocation& call);
Result<int> BuildHistoryListCommand(Cli& cli, Invocation& call);
Result<int> BuildHistoryInspectCommand(Cli& cli, Invocation& call);
Result<int> BuildHistoryLogsCommand(Cli& cli, Invocation& call);
Result<int> BuildHistoryRmCommand(Cli& cli, Invocation& call);
Result<int> CheckpointCreateCommand(Cli& cli, Invocation& call);
Result<int> CheckpointListCommand(Cli& cli, Invocation& call);
Result<int> CheckpointRmCommand(Cli& cli, Invocation& call);
Result<int> CompleteCommandLine(Cli& cli, Invocation& call);
Result<int> CompleteWithoutDescriptions(Cli& cli, Invocation& call);
Result<int> CompletionCommand(Cli& cli, Invocation& call);
Result<int> ConfigCommand(Cli& cli, Invocation& call);
Result<int> ContainerPruneCommand(Cli& cli, Invocation& call);
Result<int> CommitCommand(Cli& cli, Invocation& call);
Result<int> ContextCreateCommand(Cli& cli, Invocation& call);
Result<int> ContextExportCommand(Cli& cli, Invocation& call);
Result<int> ContextImportCommand(Cli& cli, Invocation& call);
Result<int> ContextInspectCommand(Cli& cli, Invocation& call);
Result<int> ContextListCommand(Cli& cli, Invocation& call);
Result<int> ContextRmCommand(Cli& cli, Invocation& call);
Result<int> ContextShowCommand(Cli& cli, Invocation& call);
Result<int> ContextUpdateCommand(Cli& cli, Invocation& call);
Result<int> ContextUseCommand(Cli& cli, Invocation& call);
Result<int> CpCommand(Cli& cli, Invocation& call);
Result<int> CreateCommand(Cli& cli, Invocation& call);
Result<int> DialStdioCommand(Cli& cli, Invocation& call);
Result<int> DiffCommand(Cli& cli, Invocation& call);
Result<int> EventsCommand(Cli& cli, Invocation& call);
Result<int> ExecCommand(Cli& cli, Invocation& call);
Result<int> ExplainCommand(Cli& cli, Invocation& call);
Result<int> ExportCommand(Cli& cli, Invocation& call);
Result<int> HistoryCommand(Cli& cli, Invocation& call);
Result<int> ImagePruneCommand(Cli& cli, Invocation& call);
Result<int> ImagesCommand(Cli& cli, Invocation& call);
Result<int> ImportCommand(Cli& cli, Invocation& call);
Result<int> ImportDockerCommand(Cli& cli, Invocation& call);
Result<int> InfoCommand(Cli& cli, Invocation& call);
Result<int> InspectCommand(Cli& cli, Invocation& call);
Result<int> InspectContainerCommand(Cli& cli, Invocation& call);
Result<int> InspectImageCommand(Cli& cli, Invocation& call);
Result<int> InspectNetworkCommand(Cli& cli, Invocation& call);
Result<int> InspectVolumeCommand(Cli& cli, Invocation& call);
Result<int> KillCommand(Cli& cli, Invocation& call);
Result<int> LoadCommand(Cli& cli, Invocation& call);
Result<int> LoginCommand(Cli& cli, Invocation& call);
Result<int> LogoutCommand(Cli& cli, Invocation& call);
Result<int> LogsCommand(Cli& cli, Invocation& call);
Result<int> ManCommand(Cli& cli, Invocation& call);
Result<int> ManifestAnnotateCommand(Cli& cli, Invocation& call);
Result<int> ManifestCreateCommand(Cli& cli, Invocation& call);
Result<int> ManifestInspectCommand(Cli& cli, Invocation& call);
Result<int> ManifestPushCommand(Cli& cli, Invocation& call);
Result<int> ManifestReferrersCommand(Cli& cli, Invocation& call);
Result<int> ManifestRmCommand(Cli& cli, Invocation& call);
Result<int> NetworkConnectCommand(Cli& cli, Invocation& call);
Result<int> NetworkCreateCommand(Cli& cli, Invocation& call);
Result<int> NetworkDisconnectCommand(Cli& cli, Invocation& call);
Result<int> NetworkListCommand(Cli& cli, Invocation& call);
Result<int> NetworkPruneCommand(Cli& cli, Invocation& call);
Result<int> NetworkRmCommand(Cli& cli, Invocation& call);
Result<int> NodeCommand(Cli& cli, Invocation& call);
Result<int> PauseCommand(Cli& cli, Invocation& call);
Result<int> PluginChangeCommand(Cli& cli, Invocation& call);
Result<int> PluginInspectCommand(Cli& cli, Invocation& call);
Result<int> PluginListCommand(Cli& cli, Invocation& call);
Result<int> PortCommand(Cli& cli, Invocation& call);
Result<int> PsCommand(Cli& cli, Invocation& call);
Result<int> PullCommand(Cli& cli, Invocation& call);
Result<int> PushCommand(Cli& cli, Invocation& call);
Result<int> RegistryServeCommand(Cli& cli, Invocation& call);
Result<int> RenameCommand(Cli& cli, Invocation& call);
Result<int> RestartCommand(Cli& cli, Invocation& call);
Result<int> RmCommand(Cli& cli, Invocation& call);
Result<int> RmiCommand(Cli& cli, Invocation& call);
Result<int> RunCommand(Cli& cli, Invocation& call);
Result<int> SaveCommand(Cli& cli, Invocation& call);
Result<int> SearchCommand(Cli& cli, Invocation& call);
Result<int> SecretCommand(Cli& cli, Invocation& call);
Result<int> ServiceCommand(Cli& cli, Invocation& call);
Result<int> StartCommand(Cli& cli, Invocation& call);
Result<int> StatsCommand(Cli& cli, Invocation& call);
Result<int> StopCommand(Cli& cli, Invocation& call);
Result<int> SwarmCommand(Cli& cli, Invocation& call);
Result<int> SwarmLeaveCommand(Cli& cli, Invocation& call);
Result<int> SystemDfCommand(Cli& cli, Invocation& call);
Result<int> SystemPruneCommand(Cli& cli, Invocation& call);
Result<int> TagCommand(Cli& cli, Invocation& call);
Result<int> TopCommand(Cli& cli, Invocation& call);
Result<int> UnpauseCommand(Cli& cli, Invocation& call);
Result<int> UpdateCommand(Cli& cli, Invocation& call);
Result<int> VersionCommand(Cli& cli, Invocation& call);
Result<int> VolumeCreateCommand(Cli& cli, Invocation& call);
Result<int> VolumeListCommand(Cli& cli, Invocation& call);
Result<int> VolumePruneCommand(Cli& cli, Invocation& call);
Result<int> VolumeRmCommand(Cli& cli, Invocation& call);
Result<int> VolumeUpdateCommand(Cli& cli, Invocation& call);
Result<int> WaitCommand(Cli& cli, Invocation& call);

}  // namespace gantry::cli
