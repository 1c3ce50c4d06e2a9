// SPDX-License-Identifier: Apache-2.0
#include "runtime/prepared.h"

#include <cstring>

#include "base/io.h"
#include "runtime/launch.h"
#include "runtime/syscall_names.h"

namespace gantry::runtime {
namespace {

using formats::Json;
using formats::JsonReader;

constexpr std::string_view kMagic = "gantry prepared\n";
static_assert(kMagic.size() == 16);
// To be raised when what is in it changes its meaning.
constexpr int kFormat = 1;

struct Header {
  uint64_t checksum;
  uint32_t json_size;
  uint32_t filter_size;
};

uint64_t Checksum(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

// A file that says something else here is somebody else's.
Json Owner(const ContainerState& state) {
  return Json::MakeObject({{"format", kFormat},
                           {"version", GANTRY_VERSION},
                           {"architecture", AuditValue(NativeArchitecture())},
                           {"id", state.id},
                           {"created", UnixNanos(state.created)}});
}

Result<Prepared> ReadSettings(const Json& json) {
  JsonReader reader(json, "prepared");
  const Json* spec = reader.Raw("spec");
  if (spec == nullptr) return InvalidArgument("spec: is missing");
  Prepared prepared;
  prepared.spec = TRY(oci::ParseSpec(*spec));
  if (!prepared.spec.process) return InvalidArgument("spec.process: is missing");
  reader.Object("seccomp", [&](JsonReader& seccomp) {
    seccomp.Field("flags", &prepared.seccomp.flags);
    seccomp.Field("notifies", &prepared.seccomp.notifies);
    seccomp.Field("listenerPath", &prepared.seccomp.listener_path);
    seccomp.Field("listenerMetadata", &prepared.seccomp.listener_metadata);
  });
  TRY(reader.Finish());
  return prepared;
}

}  // namespace

std::string EncodePrepared(const oci::Spec& spec, const child::SeccompProgram& seccomp,
                           const ContainerState& state) {
  oci::Spec kept;
  kept.oci_version = spec.oci_version;
  kept.root = spec.root;
  kept.process = spec.process;
  kept.platform.personality = spec.platform.personality;
  kept.platform.memory_policy = spec.platform.memory_policy;
  std::string json =
      Json::MakeObject(
          {{"owner", Owner(state)},
           {"spec", oci::ToJson(kept)},
           {"seccomp", Json::MakeObject({{"flags", seccomp.flags},
                                         {"notifies", seccomp.notifies},
                                         {"listenerPath", seccomp.listener_path},
                                         {"listenerMetadata", seccomp.listener_metadata}})}})
          .Dump();
  Header header{0, static_cast<uint32_t>(json.size()),
                static_cast<uint32_t>(seccomp.filter.size() * sizeof(sock_filter))};
  std::string file(kMagic);
  file.append(reinterpret_cast<const char*>(&header), sizeof header);
  file.append(json);
  file.append(reinterpret_cast<const char*>(seccomp.filter.data()), header.filter_size);
  size_t counted = kMagic.size() + sizeof header.checksum;
  header.checksum = Checksum(std::string_view(file).substr(counted));
  ::memcpy(file.data() + kMagic.size(), &header.checksum, sizeof header.checksum);
  return file;
}

std::optional<Prepared> DecodePrepared(std::string_view file, const ContainerState& state) {
  Header header{};
  if (!file.starts_with(kMagic) || file.size() < kMagic.size() + sizeof header) return {};
  ::memcpy(&header, file.data() + kMagic.size(), sizeof header);
  if (Checksum(file.substr(kMagic.size() + sizeof header.checksum)) != header.checksum) return {};
  std::string_view rest = file.substr(kMagic.size() + sizeof header);
  if (rest.size() != uint64_t{header.json_size} + header.filter_size) return {};
  if (header.filter_size % sizeof(sock_filter) != 0) return {};
  Result<Json> json = Json::Parse(rest.substr(0, header.json_size));
  if (!json.ok() || (*json)["owner"] != Owner(state)) return {};
  Result<Prepared> prepared = ReadSettings(*json);
  if (!prepared.ok()) return {};
  prepared->seccomp.filter.resize(header.filter_size / sizeof(sock_filter));
  if (header.filter_size != 0) {
    ::memcpy(prepared->seccomp.filter.data(), rest.data() + header.json_size, header.filter_size);
  }
  return std::move(prepared).value();
}

Result<Prepared> LoadPrepared(const StateDirectory& directory, const ContainerState& state) {
  Result<std::string> file = ReadFile(directory.PreparedPath());
  if (file.ok()) {
    std::optional<Prepared> prepared = DecodePrepared(*file, state);
    if (prepared) return std::move(*prepared);
  }
  Prepared prepared;
  prepared.spec = TRY(directory.LoadSpec());
  prepared.seccomp = TRY(PrepareSeccomp(prepared.spec));
  return prepared;
}

}  // namespace gantry::runtime
