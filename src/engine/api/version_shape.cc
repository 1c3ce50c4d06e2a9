// SPDX-License-Identifier: Apache-2.0
#include "engine/api/version_shape.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

namespace gantry::engine::api {
namespace {

using formats::Json;

constexpr int kAlways = 0;
constexpr int kForEver = 1'000;

// `path`: members with dots between them; "*" is every member of an object or item of an array.
// The field is there from 1.SINCE to 1.LAST.
struct FieldRow {
  AnswerForm form;
  std::string_view path;
  int since = kAlways;
  int last = kForEver;
  // Only where it is empty (null, "", [], {}, false): then it is left out outside of the range.
  bool only_empty = false;
};

constexpr FieldRow kFields[] = {
    {AnswerForm::kVersion, "Platform", 35},
    {AnswerForm::kVersion, "Components", 35},

    {AnswerForm::kInfo, "Warnings", 39},
    {AnswerForm::kInfo, "PidsLimit", 40},
    {AnswerForm::kInfo, "CgroupVersion", 41},
    {AnswerForm::kInfo, "DefaultAddressPools", 41},
    {AnswerForm::kInfo, "CDISpecDirs", 44},
    {AnswerForm::kInfo, "Runtimes.*.status", 44},
    {AnswerForm::kInfo, "Containerd", 46},
    {AnswerForm::kInfo, "FirewallBackend", 49},
    {AnswerForm::kInfo, "DiscoveredDevices", 50},
    {AnswerForm::kInfo, "NRI", 53},
    {AnswerForm::kInfo, "KernelMemory", kAlways, 41},
    {AnswerForm::kInfo, "KernelMemoryTCP", kAlways, 51},
    {AnswerForm::kInfo, "RegistryConfig.AllowNondistributableArtifactsCIDRs", kAlways, 48},
    {AnswerForm::kInfo, "RegistryConfig.AllowNondistributableArtifactsHostnames", kAlways, 48},
    {AnswerForm::kInfo, "ContainerdCommit.Expected", kAlways, 48},
    {AnswerForm::kInfo, "RuncCommit.Expected", kAlways, 48},
    {AnswerForm::kInfo, "InitCommit.Expected", kAlways, 48},
    {AnswerForm::kInfo, "BridgeNfIptables", kAlways, 49},
    {AnswerForm::kInfo, "BridgeNfIp6tables", kAlways, 49},

    {AnswerForm::kContainer, "HostConfig.Annotations", 43},
    {AnswerForm::kContainer, "NetworkSettings.Networks.*.DNSNames", 44},
    {AnswerForm::kContainer, "NetworkSettings.Networks.*.GwPriority", 48},
    {AnswerForm::kContainer, "ImageManifestDescriptor", 48},
    {AnswerForm::kContainer, "HostConfig.KernelMemory", kAlways, 41},
    {AnswerForm::kContainer, "HostConfig.KernelMemoryTCP", kAlways, 41},
    {AnswerForm::kContainer, "NetworkSettings.Bridge", kAlways, 51},
    {AnswerForm::kContainer, "NetworkSettings.HairpinMode", kAlways, 51},
    {AnswerForm::kContainer, "NetworkSettings.LinkLocalIPv6Address", kAlways, 51},
    {AnswerForm::kContainer, "NetworkSettings.LinkLocalIPv6PrefixLen", kAlways, 51},
    {AnswerForm::kContainer, "NetworkSettings.SecondaryIPAddresses", kAlways, 51},
    {AnswerForm::kContainer, "NetworkSettings.SecondaryIPv6Addresses", kAlways, 51},
    {AnswerForm::kContainer, "NetworkSettings.EndpointID", kAlways, 51},
    {AnswerForm::kContainer, "NetworkSettings.Gateway", kAlways, 51},
    {AnswerForm::kContainer, "NetworkSettings.GlobalIPv6Address", kAlways, 51},
    {AnswerForm::kContainer, "NetworkSettings.GlobalIPv6PrefixLen", kAlways, 51},
    {AnswerForm::kContainer, "NetworkSettings.IPAddress", kAlways, 51},
    {AnswerForm::kContainer, "NetworkSettings.IPPrefixLen", kAlways, 51},
    {AnswerForm::kContainer, "NetworkSettings.IPv6Gateway", kAlways, 51},
    {AnswerForm::kContainer, "NetworkSettings.MacAddress", kAlways, 51},
    {AnswerForm::kContainer, "Config.MacAddress", kAlways, 51},
    {AnswerForm::kContainer, "Config.OnBuild", kAlways, 51, true},
    {AnswerForm::kContainer, "GraphDriver", kAlways, 51},
    {AnswerForm::kContainer, "Storage", 52},

    {AnswerForm::kContainerList, "*.HostConfig.Annotations", 46},
    {AnswerForm::kContainerList, "*.NetworkSettings.Networks.*.DNSNames", 44},
    {AnswerForm::kContainerList, "*.NetworkSettings.Networks.*.GwPriority", 48},
    {AnswerForm::kContainerList, "*.ImageManifestDescriptor", 48},
    {AnswerForm::kContainerList, "*.Health", 52},

    {AnswerForm::kImage, "Descriptor", 48},
    {AnswerForm::kImage, "Manifests", 48},
    {AnswerForm::kImage, "VirtualSize", kAlways, 43},
    {AnswerForm::kImage, "Container", kAlways, 44},
    {AnswerForm::kImage, "ContainerConfig", kAlways, 44},
    {AnswerForm::kImage, "Config.Hostname", kAlways, 49},
    {AnswerForm::kImage, "Config.Domainname", kAlways, 49},
    {AnswerForm::kImage, "Config.AttachStdin", kAlways, 49},
    {AnswerForm::kImage, "Config.AttachStdout", kAlways, 49},
    {AnswerForm::kImage, "Config.AttachStderr", kAlways, 49},
    {AnswerForm::kImage, "Config.Tty", kAlways, 49},
    {AnswerForm::kImage, "Config.OpenStdin", kAlways, 49},
    {AnswerForm::kImage, "Config.StdinOnce", kAlways, 49},
    {AnswerForm::kImage, "Config.Image", kAlways, 49},
    {AnswerForm::kImage, "Config.NetworkDisabled", kAlways, 49},
    {AnswerForm::kImage, "Config.MacAddress", kAlways, 49},
    {AnswerForm::kImage, "Config.StopTimeout", kAlways, 49},
    {AnswerForm::kImage, "GraphDriver", kAlways, 51},
    {AnswerForm::kImage, "Parent", kAlways, 51, true},
    {AnswerForm::kImage, "Comment", kAlways, 51, true},
    {AnswerForm::kImage, "DockerVersion", kAlways, 51, true},
    {AnswerForm::kImage, "Author", kAlways, 51, true},
    {AnswerForm::kImage, "Config.Cmd", kAlways, 51, true},
    {AnswerForm::kImage, "Config.Entrypoint", kAlways, 51, true},
    {AnswerForm::kImage, "Config.Env", kAlways, 51, true},
    {AnswerForm::kImage, "Config.Labels", kAlways, 51, true},
    {AnswerForm::kImage, "Config.OnBuild", kAlways, 51, true},
    {AnswerForm::kImage, "Config.User", kAlways, 51, true},
    {AnswerForm::kImage, "Config.Volumes", kAlways, 51, true},
    {AnswerForm::kImage, "Config.WorkingDir", kAlways, 51, true},

    {AnswerForm::kImageList, "*.Manifests", 47},
    {AnswerForm::kImageList, "*.Descriptor", 48},
    {AnswerForm::kImageList, "*.VirtualSize", kAlways, 43},

    {AnswerForm::kNetwork, "ConfigFrom", 30},
    {AnswerForm::kNetwork, "ConfigOnly", 30},
    {AnswerForm::kNetwork, "Ingress", 29},
    {AnswerForm::kNetwork, "EnableIPv4", 48},
    {AnswerForm::kNetwork, "Status", 52},
    {AnswerForm::kNetworkList, "*.ConfigFrom", 30},
    {AnswerForm::kNetworkList, "*.ConfigOnly", 30},
    {AnswerForm::kNetworkList, "*.Ingress", 29},
    {AnswerForm::kNetworkList, "*.EnableIPv4", 48},

    {AnswerForm::kVolume, "CreatedAt", 31},
    {AnswerForm::kVolume, "Volumes.*.CreatedAt", 31},

    {AnswerForm::kDiskUsage, "BuilderSize", kAlways, 41},
    {AnswerForm::kDiskUsage, "Images.*.VirtualSize", kAlways, 43},
    {AnswerForm::kDiskUsage, "Volumes.*.CreatedAt", 31},
    {AnswerForm::kDiskUsage, "LayersSize", kAlways, 52},
    {AnswerForm::kDiskUsage, "Images", kAlways, 52},
    {AnswerForm::kDiskUsage, "Containers", kAlways, 52},
    {AnswerForm::kDiskUsage, "Volumes", kAlways, 52},
    {AnswerForm::kDiskUsage, "BuildCache", kAlways, 52},
    {AnswerForm::kDiskUsage, "ImageUsage", 52},
    {AnswerForm::kDiskUsage, "ContainerUsage", 52},
    {AnswerForm::kDiskUsage, "VolumeUsage", 52},
    {AnswerForm::kDiskUsage, "BuildCacheUsage", 52},

    {AnswerForm::kEvent, "status", kAlways, 51},
    {AnswerForm::kEvent, "id", kAlways, 51},
    {AnswerForm::kEvent, "from", kAlways, 51},
};

bool IsEmpty(const Json& json) {
  if (json.is_null()) return true;
  if (json.is_bool()) return !json.AsBool();
  return (json.is_string() || json.is_array() || json.is_object()) && json.size() == 0;
}

void Erase(Json* json, std::string_view path, bool only_empty) {
  std::string_view head = path.substr(0, path.find('.'));
  std::string_view rest = path.substr(std::min(path.size(), head.size() + 1));
  if (head == "*") {
    if (json->is_array()) {
      for (Json& item : json->mutable_items()) Erase(&item, rest, only_empty);
    } else if (json->is_object()) {
      for (auto& [name, member] : json->mutable_members()) Erase(&member, rest, only_empty);
    }
    return;
  }
  Json* member = json->Find(head);
  if (member == nullptr) return;
  if (!rest.empty()) return Erase(member, rest, only_empty);
  if (!only_empty || IsEmpty(*member)) json->Erase(head);
}

// Before 1.25: "seccomp" for "name=seccomp,profile=builtin", and the field of the drivers before
// containerd.
void MakeOldInfo(Json* info) {
  Json names = Json::MakeArray();
  for (const Json& option : (*info)["SecurityOptions"].items()) {
    std::string_view text = option.AsString();
    if (text.starts_with("name=")) text.remove_prefix(5);
    names.Append(std::string(text.substr(0, text.find(','))));
  }
  info->Set("SecurityOptions", std::move(names));
  info->Set("ExecutionDriver", "<not supported>");
}

// Before 1.45 the names that a user's network gives, but for the container's own, were its aliases.
void MixAliases(Json* container) {
  Json* settings = container->Find("NetworkSettings");
  Json* networks = settings == nullptr ? nullptr : settings->Find("Networks");
  if (networks == nullptr || !networks->is_object()) return;
  for (auto& [name, endpoint] : networks->mutable_members()) {
    const Json& known_names = endpoint["DNSNames"];
    if (known_names.size() == 0) continue;
    Json aliases = Json::MakeArray();
    for (size_t i = 1; i < known_names.size(); ++i) aliases.Append(known_names.at(i));
    endpoint.Set("Aliases", std::move(aliases));
  }
}

// Before 1.43: an image without a name has this one.
void NameUntagged(Json* images) {
  if (!images->is_array()) return;
  for (Json& image : images->mutable_items()) {
    if (image["RepoTags"].size() > 0) continue;
    image.Set("RepoTags", Json::MakeArray({"<none>:<none>"}));
    if (image["RepoDigests"].size() == 0) {
      image.Set("RepoDigests", Json::MakeArray({"<none>@<none>"}));
    }
  }
}

// Before 1.51 nobody counted.
void HideContainerCounts(Json* images) {
  if (!images->is_array()) return;
  for (Json& image : images->mutable_items()) image.Set("Containers", -1);
}

}  // namespace

void Shape(AnswerForm form, int minor, Json* json) {
  if (form == AnswerForm::kContainer && minor < 45) MixAliases(json);
  for (const FieldRow& row : kFields) {
    bool out = row.form == form && (minor < row.since || minor > row.last);
    if (out) Erase(json, row.path, row.only_empty);
  }
  if (form == AnswerForm::kInfo && minor < 25) MakeOldInfo(json);
  if (form == AnswerForm::kImageList && minor < 43) NameUntagged(json);
  if (form == AnswerForm::kImageList && minor < 51) HideContainerCounts(json);
}

}  // namespace gantry::engine::api
