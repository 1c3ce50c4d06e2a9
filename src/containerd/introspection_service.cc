// SPDX-License-Identifier: Apache-2.0
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "containerd/filters.h"
#include "containerd/parts.h"
#include "containerd/rpc.h"
#include "containerd/services/introspection/v1/introspection.grpc.pb.h"
#include "containerd/shim_directory.h"
#include "containerd/types/introspection.pb.h"
#include "oci/image_spec.h"

namespace gantry::containerd {
namespace {

namespace introspection_api = ::containerd::services::introspection::v1;

constexpr const char* kTaskPluginType = "io.containerd.runtime.v2";
constexpr const char* kTaskPluginId = "task";

// The parts of this daemon under containerd's names of plugins, so that clients find what they look
// for: snapshotters by "io.containerd.snapshotter.v1", services by "io.containerd.grpc.v1".
std::vector<introspection_api::Plugin> AllPlugins(const Parts& parts) {
  std::vector<introspection_api::Plugin> plugins;
  auto host = oci::HostPlatform();
  auto add = [&](const char* type, const std::string& id, bool on_platform) {
    auto& plugin = plugins.emplace_back();
    plugin.set_type(type);
    plugin.set_id(id);
    if (!on_platform) return;
    auto* platform = plugin.add_platforms();
    platform->set_os(host.os);
    platform->set_architecture(host.architecture);
    platform->set_variant(host.variant);
  };
  add("io.containerd.content.v1", "content", false);
  for (const auto& [name, snapshotter] : parts.snapshotters) {
    add("io.containerd.snapshotter.v1", name, true);
    (*plugins.back().mutable_exports())["root"] = parts.root + "/snapshots/" + name;
    if (snapshotter->HasQuotas()) plugins.back().add_capabilities("quota");
  }
  add("io.containerd.metadata.v1", "sqlite", false);
  add("io.containerd.differ.v1", "walking", true);
  add("io.containerd.gc.v1", "scheduler", false);
  add("io.containerd.event.v1", "exchange", false);
  add(kTaskPluginType, kTaskPluginId, true);
  add("io.containerd.transfer.v1", "local", false);
  add("io.containerd.mount-manager.v1", "sqlite", false);
  add("io.containerd.sandbox.controller.v1", "shim", true);
  add("io.containerd.monitor.container.v1", "restart", false);
  for (const char* policy : {"no", "always", "on-failure", "unless-stopped"}) {
    plugins.back().add_capabilities(policy);
  }
  for (const char* service :
       {"containers", "content", "diff", "events", "healthcheck", "images", "introspection",
        "leases", "mounts", "namespaces", "sandbox-controllers", "sandboxes", "snapshots",
        "streaming", "tasks", "transfer", "version"}) {
    add("io.containerd.grpc.v1", service, false);
  }
  std::erase_if(plugins, [&](const auto& plugin) {
    std::string uri = plugin.type() + "." + plugin.id();
    return std::find(parts.disabled_plugins.begin(), parts.disabled_plugins.end(), uri) !=
           parts.disabled_plugins.end();
  });
  return plugins;
}

std::optional<std::string> Field(const introspection_api::Plugin& plugin, const FieldPath& path) {
  if (path[0] == "type") return FieldOf(plugin.type());
  if (path[0] == "id") return FieldOf(plugin.id());
  if (path[0] == "capabilities" && path.size() > 1) {
    for (const auto& capability : plugin.capabilities()) {
      if (capability == path[1]) return capability;
    }
  }
  return std::nullopt;
}

class IntrospectionService : public introspection_api::Introspection::CallbackService {
 public:
  explicit IntrospectionService(Parts* parts) : parts_(parts) {}

 private:
  grpc::ServerUnaryReactor* Plugins(Context* context,
                                    const introspection_api::PluginsRequest* request,
                                    introspection_api::PluginsResponse* response) override {
    return Answer(context, [&]() -> Result<> {
      Filters filters = TRY(Filters::ParseAll(request->filters()));
      for (auto& plugin : AllPlugins(*parts_)) {
        auto lookup = [&](const FieldPath& path) { return Field(plugin, path); };
        if (filters.Matches(lookup)) *response->add_plugins() = std::move(plugin);
      }
      return {};
    });
  }

  grpc::ServerUnaryReactor* Server(Context* context, const google::protobuf::Empty*,
                                   introspection_api::ServerResponse* response) override {
    return Answer(context, [&]() -> Result<> {
      response->set_uuid(parts_->uuid);
      response->set_pid(static_cast<uint64_t>(::getpid()));
      struct stat status;
      if (::stat("/proc/self/ns/pid", &status) != 0) {
        return ErrnoError("reading '/proc/self/ns/pid'");
      }
      response->set_pidns(status.st_ino);
      return {};
    });
  }

  grpc::ServerUnaryReactor* PluginInfo(Context* context,
                                       const introspection_api::PluginInfoRequest* request,
                                       introspection_api::PluginInfoResponse* response) override {
    return AnswerOn(*parts_->workers, context, [this, request, response]() -> Result<> {
      for (auto& plugin : AllPlugins(*parts_)) {
        if (plugin.type() != request->type() || plugin.id() != request->id()) continue;
        *response->mutable_plugin() = std::move(plugin);
        if (!request->has_options()) return {};
        return DescribeRuntime(*request, response->mutable_extra());
      }
      return NotFound("plugin {}.{}: not found", request->type(), request->id());
    });
  }

  // The plugin of tasks is the only one that can be asked more: what a runtime is, as its shim
  // says.
  Result<> DescribeRuntime(const introspection_api::PluginInfoRequest& request,
                           google::protobuf::Any* extra) {
    ::containerd::types::RuntimeRequest runtime;
    bool known = request.type() == kTaskPluginType && request.id() == kTaskPluginId;
    if (!known || request.options().type_url() != runtime.GetTypeName()) {
      return Unimplemented("plugin {}.{}: takes no request of type '{}'", request.type(),
                           request.id(), request.options().type_url());
    }
    if (!runtime.ParseFromString(request.options().value())) {
      return InvalidArgument("reading options: not a {}", runtime.GetTypeName());
    }
    std::string options = runtime.has_options() ? runtime.options().SerializeAsString() : "";
    std::string answer = TRY(parts_->shims->RuntimeInfo(runtime.runtime_path(), options));
    ::containerd::types::RuntimeInfo info;
    if (!info.ParseFromString(answer)) {
      return Internal("describing runtime '{}': its shim answers something else",
                      runtime.runtime_path());
    }
    // containerd's clients know types by their bare name.
    extra->set_type_url(info.GetTypeName());
    extra->set_value(std::move(answer));
    return {};
  }

  Parts* parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeIntrospectionService(Parts* parts) {
  return std::make_unique<IntrospectionService>(parts);
}

}  // namespace gantry::containerd
