// SPDX-License-Identifier: Apache-2.0
//
// gantry manifest: lists of images for several platforms, made here and pushed to a registry. No
// daemon takes part. Words and files are docker's (manifest_store.h).
#include <algorithm>

#include "base/text.h"
#include "cmd/gantry/command_list.h"
#include "cmd/gantry/container_calls.h"
#include "cmd/gantry/listing.h"
#include "cmd/gantry/manifest_store.h"
#include "cmd/gantry/output.h"
#include "cmd/gantry/registry_session.h"
#include "cmd/gantry/sha256.h"
#include "formats/base64.h"
#include "formats/human_units.h"
#include "oci/image_spec.h"

namespace gantry::cli {
namespace {

using formats::Reference;

ManifestStore StoreOf(const Cli& cli) {
  return ManifestStore(cli.ConfigDirectory() + "/manifests");
}

Result<Reference> ParseName(const std::string& text) {
  return formats::WithDefaultTag(TRY(ParseImageName(text)));
}

bool IsList(std::string_view media_type) {
  return media_type == oci::kOciIndex || media_type == oci::kDockerManifestList;
}

std::string Scope(const Reference& reference, std::string_view actions) {
  return fmt::format("repository:{}:{}", reference.path, actions);
}

struct Document {
  std::string media_type;
  std::string text;
};

// By tag or digest; kNotFound in docker's words.
Result<Document> FetchDocument(RegistrySession* session, const Reference& reference) {
  RegistryRequest request;
  request.path = fmt::format("/v2/{}/manifests/{}", reference.path,
                             reference.digest.empty() ? reference.tag : reference.digest.text());
  for (std::string_view type :
       {oci::kDockerManifest, oci::kOciManifest, oci::kDockerManifestList, oci::kOciIndex}) {
    request.accept.emplace_back(type);
  }
  RegistryAnswer answer = TRY(session->Call(request, Scope(reference, "pull")));
  if (answer.status != 200) return NotFound("no such manifest: {}", reference.Familiar());
  Json json =
      TRY_WITH(Json::Parse(answer.body), "reading the manifest of '{}'", reference.Familiar());
  std::string type = json["mediaType"].AsString();
  if (type.empty()) type = answer.headers.Get("Content-Type");
  if (!reference.digest.empty() && "sha256:" + Sha256Hex(answer.body) != reference.digest.text()) {
    return FailedPrecondition("the registry's manifest of '{}' is not the one asked for",
                              reference.ToString());
  }
  return Document{std::move(type), std::move(answer.body)};
}

// The same with its members in docker's order: files and texts are compared byte for byte.
Json InOrder(const Json& platform) {
  Json ordered = Json::MakeObject();
  for (const char* name : {"architecture", "os", "os.version", "os.features", "variant"}) {
    if (const Json* value = platform.Find(name)) ordered.Set(name, *value);
  }
  return ordered;
}

// An image's manifest as an entry of a list, its platform from its configuration.
Result<ManifestEntry> EntryOf(RegistrySession* session, const Reference& reference,
                              const Document& document) {
  Json manifest = TRY(Json::Parse(document.text));
  RegistryRequest request;
  request.path =
      fmt::format("/v2/{}/blobs/{}", reference.path, manifest["config"]["digest"].AsString());
  RegistryAnswer answer = TRY(session->CallOk(request, Scope(reference, "pull")));
  Json config =
      TRY_WITH(Json::Parse(answer.body), "reading the configuration of '{}'", reference.Familiar());
  Json descriptor = Json::MakeObject({{"mediaType", document.media_type},
                                      {"digest", "sha256:" + Sha256Hex(document.text)},
                                      {"size", document.text.size()},
                                      {"platform", InOrder(config)}});
  bool oci = document.media_type == oci::kOciManifest;
  return Json::MakeObject({{"Ref", reference.ToString()},
                           {"Descriptor", std::move(descriptor)},
                           {"Raw", formats::EncodeBase64(document.text)},
                           {oci ? "OCIManifest" : "SchemaV2Manifest", std::move(manifest)}});
}

// The entries of a list that is at the registry.
Result<std::vector<ManifestEntry>> EntriesOf(RegistrySession* session, const Reference& list,
                                             const Document& document) {
  std::vector<ManifestEntry> entries;
  Json json = TRY(Json::Parse(document.text));
  for (const Json& descriptor : json["manifests"].items()) {
    Reference image = list;
    image.digest = TRY(formats::Digest::Parse(descriptor["digest"].AsString()));
    Document manifest = TRY(FetchDocument(session, image));
    ManifestEntry entry = TRY(EntryOf(session, image, manifest));
    entry.MutableMember("Descriptor").Set("platform", descriptor["platform"]);
    entries.push_back(std::move(entry));
  }
  return entries;
}

const Json& ManifestOf(const ManifestEntry& entry) {
  const Json& oci = entry["OCIManifest"];
  return oci.is_object() ? oci : entry["SchemaV2Manifest"];
}

// The list's own document; one of OCI manifests alone is an OCI index.
Document ListDocument(const std::vector<ManifestEntry>& entries) {
  bool oci = std::all_of(entries.begin(), entries.end(), [](const ManifestEntry& entry) {
    return entry["Descriptor"]["mediaType"].AsString() == oci::kOciManifest;
  });
  Document document;
  document.media_type = oci ? oci::kOciIndex : oci::kDockerManifestList;
  Json manifests = Json::MakeArray();
  for (const ManifestEntry& entry : entries) {
    const Json& descriptor = entry["Descriptor"];
    manifests.Append(Json::MakeObject({{"mediaType", descriptor["mediaType"]},
                                       {"size", descriptor["size"]},
                                       {"digest", descriptor["digest"]},
                                       {"platform", descriptor["platform"]}}));
  }
  document.text = Json::MakeObject({{"schemaVersion", 2},
                                    {"mediaType", document.media_type},
                                    {"manifests", std::move(manifests)}})
                      .Dump(3);
  return document;
}

// Indented by tabs, as docker shows single documents.
void PrintTabbed(const Json& json) {
  std::string text = json.Dump(1);
  std::string out;
  for (size_t at = 0; at < text.size();) {
    size_t begin = std::min(text.find_first_not_of(' ', at), text.size());
    size_t end = std::min(text.find('\n', begin), text.size());
    out.append(begin - at, '\t').append(text, begin, end - begin).append("\n");
    at = end + 1;
  }
  PrintText(out);
}

void PrintEntry(const ManifestEntry& entry, bool verbose) {
  PrintTabbed(verbose ? entry : ManifestOf(entry));
}

void PrintList(const std::vector<ManifestEntry>& entries, bool verbose) {
  if (!verbose) return Print("{}\n", ListDocument(entries).text);
  Json all = Json::MakeArray();
  for (const ManifestEntry& entry : entries) all.Append(entry);
  PrintTabbed(all);
}

void BindInsecure(Flags* flags, bool* insecure) {
  flags->Bool("insecure", 0, insecure, "Speak to the registry without TLS, or whoever it is");
}

// What Go knows to run on, as docker checks it: "os/arch".
bool IsKnownPlatform(const std::string& os, const std::string& architecture) {
  static constexpr std::string_view kArchitectures[] = {
      "386",      "amd64", "arm",     "arm64",   "loong64", "mips", "mipsle",  "mips64",
      "mips64le", "ppc64", "ppc64le", "riscv64", "s390x",   "wasm", "amd64p32"};
  static constexpr std::string_view kSystems[] = {
      "aix",   "android", "darwin",  "dragonfly", "freebsd", "illumos", "ios",     "js",
      "linux", "netbsd",  "openbsd", "plan9",     "solaris", "wasip1",  "windows", "zos"};
  return std::find(std::begin(kSystems), std::end(kSystems), os) != std::end(kSystems) &&
         std::find(std::begin(kArchitectures), std::end(kArchitectures), architecture) !=
             std::end(kArchitectures);
}

// Blobs of another repository of the same registry are mounted, nothing is sent through here.
Result<> MountBlobs(RegistrySession* session, const Reference& target, const Reference& source,
                    const Json& manifest, const std::string& scope) {
  std::vector<std::string> digests = {manifest["config"]["digest"].AsString()};
  for (const Json& layer : manifest["layers"].items()) {
    digests.push_back(layer["digest"].AsString());
  }
  for (const std::string& digest : digests) {
    RegistryRequest request;
    request.method = "POST";
    wire::Query query;
    query.Add("mount", digest).Add("from", source.path);
    request.path = fmt::format("/v2/{}/blobs/uploads/?{}", target.path, query.Format());
    RegistryAnswer answer = TRY(session->CallOk(request, scope));
    if (answer.status != 201) {
      return FailedPrecondition("couldn't mount the blob {} of '{}'", digest,
                                source.FamiliarRepository());
    }
  }
  return {};
}

Result<std::string> PutDocument(RegistrySession* session, const Reference& target,
                                const std::string& where, const Document& document,
                                const std::string& scope) {
  RegistryRequest request;
  request.method = "PUT";
  request.path = fmt::format("/v2/{}/manifests/{}", target.path, where);
  request.content_type = document.media_type;
  request.body = document.text;
  TRY(session->CallOk(request, scope));
  return "sha256:" + Sha256Hex(document.text);
}

}  // namespace

Result<int> ManifestCreateCommand(Cli& cli, Invocation& call) {
  bool amend = false, insecure = false;
  call.flags.Bool("amend", 'a', &amend, "Add to a list that is there");
  BindInsecure(&call.flags, &insecure);
  if (auto code = call.Parse(ArgCount::AtLeast(2))) return *code;
  const std::string& name = call.args()[0];
  Reference list = TRY_WITH(ParseName(name), "error parsing name for manifest list {}", name);
  ManifestStore store = StoreOf(cli);
  if (!amend && store.List(list).ok()) {
    return AlreadyExists("refusing to amend an existing manifest list with no --amend flag");
  }
  for (size_t i = 1; i < call.args().size(); ++i) {
    Reference image = TRY(ParseName(call.args()[i]));
    if (store.Get(list, image).ok()) continue;
    RegistrySession session = TRY(RegistrySession::Open(cli, image.domain, insecure));
    Document document = TRY(FetchDocument(&session, image));
    if (IsList(document.media_type)) {
      return InvalidArgument("{} is a manifest list", image.Familiar());
    }
    TRY(store.Put(list, image, TRY(EntryOf(&session, image, document))));
  }
  Print("Created manifest list {}\n", list.ToString());
  return 0;
}

Result<int> ManifestAnnotateCommand(Cli& cli, Invocation& call) {
  std::string architecture, os, os_version, variant;
  std::vector<std::string> os_features;
  call.flags.String("arch", 0, &architecture, "Set the architecture");
  call.flags.String("os", 0, &os, "Set the operating system");
  call.flags.List("os-features", 0, &os_features, "Set features of the operating system");
  call.flags.String("os-version", 0, &os_version, "Set the operating system's version");
  call.flags.String("variant", 0, &variant, "Set the architecture's variant");
  if (auto code = call.Parse(ArgCount::Exactly(2))) return *code;
  Reference list = TRY_WITH(ParseName(call.args()[0]),
                            "annotate: error parsing name for manifest list {}", call.args()[0]);
  Reference image = TRY_WITH(ParseName(call.args()[1]),
                             "annotate: error parsing name for manifest {}", call.args()[1]);
  ManifestStore store = StoreOf(cli);
  Result<ManifestEntry> found = store.Get(list, image);
  if (!found.ok() && found.error().kind() == ErrorKind::kNotFound) {
    return NotFound("manifest for image {} does not exist in {}", call.args()[1], call.args()[0]);
  }
  ManifestEntry entry = TRY(std::move(found));
  Json& platform = entry.MutableMember("Descriptor").MutableMember("platform");
  auto set = [&](const char* name, const std::string& value) {
    if (!value.empty()) platform.Set(name, value);
  };
  set("os", os);
  set("architecture", architecture);
  std::vector<std::string> features;
  for (const std::string& text : os_features) {
    for (std::string& feature : Split(text, ',')) features.push_back(std::move(feature));
  }
  if (!features.empty()) platform.Set("os.features", features);
  set("variant", variant);
  set("os.version", os_version);
  if (!IsKnownPlatform(platform["os"].AsString(), platform["architecture"].AsString())) {
    return InvalidArgument("manifest entry for image has unsupported os/arch combination: {}/{}",
                           os, architecture);
  }
  platform = InOrder(platform);
  TRY(store.Put(list, image, entry));
  return 0;
}

Result<int> ManifestInspectCommand(Cli& cli, Invocation& call) {
  bool insecure = false, verbose = false;
  BindInsecure(&call.flags, &insecure);
  call.flags.Bool("verbose", 'v', &verbose, "Show layers and platforms too");
  if (auto code = call.Parse(ArgCount::Between(1, 2))) return *code;
  Reference reference = TRY(ParseName(call.args().back()));
  ManifestStore store = StoreOf(cli);
  if (call.args().size() == 2) {
    PrintEntry(TRY(store.Get(TRY(ParseName(call.args()[0])), reference)), verbose);
    return 0;
  }
  Result<std::vector<ManifestEntry>> kept = store.List(reference);
  if (kept.ok()) {
    PrintList(*kept, verbose);
    return 0;
  }
  RegistrySession session = TRY(RegistrySession::Open(cli, reference.domain, insecure));
  Document document = TRY(FetchDocument(&session, reference));
  if (IsList(document.media_type)) {
    PrintList(TRY(EntriesOf(&session, reference, document)), verbose);
  } else {
    PrintEntry(TRY(EntryOf(&session, reference, document)), verbose);
  }
  return 0;
}

Result<int> ManifestPushCommand(Cli& cli, Invocation& call) {
  bool insecure = false, purge = false;
  BindInsecure(&call.flags, &insecure);
  call.flags.Bool("purge", 'p', &purge, "Forget the list after it is pushed");
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  Reference target = TRY(ParseName(call.args()[0]));
  ManifestStore store = StoreOf(cli);
  std::vector<ManifestEntry> entries = TRY(store.List(target));
  std::string scope = Scope(target, "pull,push");
  std::vector<Reference> sources;
  for (const ManifestEntry& entry : entries) {
    Reference source = TRY(formats::ParseReference(entry["Ref"].AsString()));
    if (source.domain != target.domain) {
      return InvalidArgument(
          "cannot use source images from a different registry than the target image: {} != {}",
          source.domain, target.domain);
    }
    std::string wanted = Scope(source, "pull");
    if (source.path != target.path && scope.find(wanted) == std::string::npos) {
      scope += " " + wanted;
    }
    sources.push_back(std::move(source));
  }
  RegistrySession session = TRY(RegistrySession::Open(cli, target.domain, insecure));
  for (size_t i = 0; i < entries.size(); ++i) {
    if (sources[i].path != target.path) {
      TRY(MountBlobs(&session, target, sources[i], ManifestOf(entries[i]), scope));
    }
    const Json& descriptor = entries[i]["Descriptor"];
    Document document{descriptor["mediaType"].AsString(),
                      TRY(formats::DecodeBase64(entries[i]["Raw"].AsString()))};
    const std::string& digest = descriptor["digest"].AsString();
    std::string pushed = TRY(PutDocument(&session, target, digest, document, scope));
    Print("Pushed ref {}@{} with digest: {}\n", target.Repository(), digest, pushed);
  }
  Print("{}\n", TRY(PutDocument(&session, target, target.tag, ListDocument(entries), scope)));
  if (purge) TRY(store.Remove(target));
  return 0;
}

Result<int> ManifestRmCommand(Cli& cli, Invocation& call) {
  if (auto code = call.Parse(ArgCount::AtLeast(1))) return *code;
  ManifestStore store = StoreOf(cli);
  int code = 0;
  for (const std::string& name : call.args()) {
    auto remove = [&]() -> Result<> {
      Reference list = TRY(ParseName(name));
      TRY(store.List(list));
      return store.Remove(list);
    };
    Result<> removed = remove();
    if (removed.ok()) continue;
    PrintError("{}\n", removed.error().message());
    code = 1;
  }
  return code;
}

namespace {

// More pages than any image has referrers for.
constexpr int kMaxReferrerPages = 100;

// The target of a Link header of this kind: "</v2/a/referrers/…?n=…>; rel=\"next\"".
std::string NextPage(const RegistryAnswer& answer) {
  std::string link(answer.headers.Get("Link"));
  size_t end = link.find('>');
  if (link.empty() || link.front() != '<' || end == std::string::npos) return "";
  return link.find("rel=\"next\"", end) == std::string::npos ? "" : link.substr(1, end - 1);
}

Result<Json> ManifestsOf(const RegistryAnswer& answer, const Reference& subject) {
  Json index =
      TRY_WITH(Json::Parse(answer.body), "reading the referrers of '{}'", subject.Familiar());
  if (index["manifests"].is_array()) return index["manifests"];
  return FailedPrecondition("reading the referrers of '{}': the registry's answer is no index",
                            subject.Familiar());
}

// Descriptors of what names `subject`, which has a digest, as its own subject (distribution-spec
// 1.1, "Listing Referrers"). A registry without such lists (404) has instead the index under the
// tag that whoever pushed a referrer wrote ("Referrers Tag Schema"), or none.
Result<std::vector<Json>> ReferrersOf(RegistrySession* session, const Reference& subject,
                                      const std::string& artifact_type) {
  const std::string scope = Scope(subject, "pull");
  RegistryRequest request;
  request.accept = {std::string(oci::kOciIndex)};
  request.path = fmt::format("/v2/{}/referrers/{}", subject.path, subject.digest.text());
  wire::Query query;
  if (!artifact_type.empty())
    request.path += "?" + query.Add("artifactType", artifact_type).Format();
  std::vector<Json> found;
  for (int page = 0; !request.path.empty(); ++page) {
    if (page == kMaxReferrerPages) {
      return MakeError(ErrorKind::kResourceExhausted,
                       "the registry lists referrers of '{}' forever", subject.Familiar());
    }
    RegistryAnswer answer = TRY(session->Call(request, scope));
    if (answer.status == 404 && page == 0) {
      request.path = fmt::format("/v2/{}/manifests/{}-{}", subject.path,
                                 subject.digest.algorithm_name(), subject.digest.hex());
      answer = TRY(session->Call(request, scope));
      if (answer.status == 404) return found;
    }
    if (answer.status != 200) answer = TRY(session->CallOk(request, scope));
    const Json manifests = TRY(ManifestsOf(answer, subject));
    for (const Json& descriptor : manifests.items()) {
      // A registry need not filter.
      bool other = !artifact_type.empty() && descriptor["artifactType"].AsString() != artifact_type;
      if (!other) found.push_back(descriptor);
    }
    request.path = NextPage(answer);
    if (!request.path.empty() && request.path.front() != '/') {
      return FailedPrecondition("the registry's list of referrers goes on at '{}'", request.path);
    }
  }
  return found;
}

ListingSpec ReferrersSpec() {
  ListingSpec spec;
  spec.default_table = "{{.Digest}}\t{{.ArtifactType}}\t{{.Size}}";
  spec.default_quiet = "{{.Digest}}";
  spec.headers = Json::MakeObject({{"Annotations", "ANNOTATIONS"},
                                   {"ArtifactType", "ARTIFACT TYPE"},
                                   {"Digest", "DIGEST"},
                                   {"MediaType", "MEDIA TYPE"},
                                   {"Size", "SIZE"}});
  spec.root_type = "*manifest.referrerContext";
  return spec;
}

}  // namespace

Result<int> ManifestReferrersCommand(Cli& cli, Invocation& call) {
  std::string artifact_type, format;
  bool insecure = false, quiet = false;
  call.flags.String("artifact-type", 0, &artifact_type, "Only those of this type");
  call.flags.String("format", 0, &format,
                    "\"table\", \"table TEMPLATE\", \"json\" or a Go template");
  BindInsecure(&call.flags, &insecure);
  call.flags.Bool("quiet", 'q', &quiet, "Only the digests");
  if (auto code = call.Parse(ArgCount::Exactly(1))) return *code;
  Listing listing = TRY(Listing::Create(ReferrersSpec(), format, quiet));
  Reference subject = TRY(ParseName(call.args()[0]));
  RegistrySession session = TRY(RegistrySession::Open(cli, subject.domain, insecure));
  if (subject.digest.empty()) {
    Document document = TRY(FetchDocument(&session, subject));
    subject.digest = TRY(formats::Digest::Parse("sha256:" + Sha256Hex(document.text)));
  }
  std::vector<Json> rows;
  for (const Json& found : TRY(ReferrersOf(&session, subject, artifact_type))) {
    std::string annotations;
    for (const auto& [name, value] : found["annotations"].members()) {
      annotations += (annotations.empty() ? "" : ",") + name + "=" + value.AsString();
    }
    rows.push_back(Json::MakeObject({{"Annotations", annotations},
                                     {"ArtifactType", found["artifactType"].AsString()},
                                     {"Digest", found["digest"].AsString()},
                                     {"MediaType", found["mediaType"].AsString()},
                                     {"Size", formats::HumanSize(found["size"].AsDouble(), 3)}}));
  }
  PrintText(TRY(listing.Format(rows)));
  return 0;
}

}  // namespace gantry::cli
