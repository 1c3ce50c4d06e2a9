// SPDX-License-Identifier: Apache-2.0
#include "engine/api/container_list.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "base/number.h"
#include "engine/api/container_json.h"
#include "engine/api/filters.h"
#include "engine/api/list_rows.h"
#include "engine/links.h"
#include "engine/network_list.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

// Of a filter: "80", "80-82", "53/udp".
struct PortRange {
  int64_t first = 0;
  int64_t last = 0;
  std::string protocol;
};

Result<PortRange> ParsePortRange(std::string_view key, std::string_view value) {
  if (value.find(':') != std::string_view::npos) {
    return InvalidArgument("filter for '{}' should not contain ':': {}", key, value);
  }
  size_t slash = value.find('/');
  std::string_view numbers = value.substr(0, slash);
  size_t dash = numbers.find('-');
  auto first = ParseNumber<uint16_t>(numbers.substr(0, dash));
  auto last =
      dash == std::string_view::npos ? first : ParseNumber<uint16_t>(numbers.substr(dash + 1));
  if (!first || !last || *last < *first) {
    return InvalidArgument("error while looking up for {} {}: invalid port range", key, value);
  }
  std::string protocol(slash == std::string_view::npos ? "tcp" : value.substr(slash + 1));
  return PortRange{*first, *last, protocol};
}

// Images name no parents. One that was made from another begins with its layers and its history;
// without a history only more layers tell.
bool DescendsFrom(const ImageDocuments& image, const ImageDocuments& ancestor) {
  const auto& layers = ancestor.config.diff_ids;
  const auto& all_layers = image.config.diff_ids;
  if (layers.empty() || layers.size() > all_layers.size()) return false;
  if (!std::equal(layers.begin(), layers.end(), all_layers.begin())) return false;
  const Json::Array& history = ancestor.config_json["history"].items();
  const Json::Array& all_history = image.config_json["history"].items();
  if (history.empty()) return layers.size() < all_layers.size();
  return history.size() < all_history.size() &&
         std::equal(history.begin(), history.end(), all_history.begin());
}

// Everything that `docker ps --filter` asks about.
class Selection {
 public:
  static Result<Selection> Make(Call& call) {
    Selection out(call.engine().networks());
    out.filters_ = TRY(Filters::Parse(call.query().Get("filters")));
    TRY(out.filters_.CheckKeys({"ancestor", "before", "exited", "expose", "health", "id", "is-task",
                                "isolation", "label", "name", "network", "publish", "since",
                                "status", "volume"}));
    for (const std::string& status : out.filters_.Values("status")) {
      static constexpr std::string_view kStates[] = {"created", "running", "paused",  "restarting",
                                                     "exited",  "dead",    "removing"};
      if (std::find(std::begin(kStates), std::end(kStates), status) == std::end(kStates)) {
        return InvalidArgument("invalid filter 'status={}'", status);
      }
    }
    for (const std::string& code : out.filters_.Values("exited")) {
      int value = 0;
      auto [end, error] = std::from_chars(code.data(), code.data() + code.size(), value);
      if (error != std::errc() || end != code.data() + code.size()) {
        return InvalidArgument("invalid filter 'exited={}'", code);
      }
    }
    for (const std::string& health : out.filters_.Values("health")) {
      static constexpr std::string_view kHealths[] = {"starting", "healthy", "unhealthy", "none"};
      if (std::find(std::begin(kHealths), std::end(kHealths), health) == std::end(kHealths)) {
        return InvalidArgument("Unrecognised filter value for health: {}", health);
      }
    }
    for (const std::string& port : out.filters_.Values("publish")) {
      out.published_.push_back(TRY(ParsePortRange("publish", port)));
    }
    for (const std::string& port : out.filters_.Values("expose")) {
      out.exposed_.push_back(TRY(ParsePortRange("expose", port)));
    }
    for (const std::string& task : out.filters_.Values("is-task")) {
      if (task != "0" && task != "1" && task != "true" && task != "false") {
        return InvalidArgument("invalid filter 'is-task={}'", task);
      }
    }
    // --last means the newest ones, whatever their state.
    out.all_ = call.query().GetBool("all") || out.filters_.Has("status") ||
               out.filters_.Has("exited") || TRY(IntParameter(call, "limit", -1)) > 0;
    TRY(out.FindDescendants(call.engine().images()));
    for (const std::string& other : out.filters_.Values("before")) {
      out.before_ = TRY(call.engine().Find(other))->record()->created;
    }
    for (const std::string& other : out.filters_.Values("since")) {
      out.since_ = TRY(call.engine().Find(other))->record()->created;
    }
    return out;
  }

  bool Matches(const ContainerRecord& record) const {
    const ContainerState& state = record.state;
    if (!all_ && !state.IsAlive() && state.ShownPhase() != Phase::kRestarting) return false;
    // As the API shows it, and without its slash.
    bool named = filters_.MatchName(record.name) || filters_.MatchName("/" + record.name);
    if (!filters_.MatchPrefix("id", record.id) || !named ||
        !filters_.MatchLabels("label", record.config.labels) ||
        !filters_.MatchExact("status", PhaseName(state.ShownPhase()))) {
      return false;
    }
    if (filters_.Has("exited") &&
        (state.ShownPhase() != Phase::kExited ||
         !filters_.MatchExact("exited", std::to_string(state.exit_code)))) {
      return false;
    }
    if (filters_.Has("ancestor") && !descendants_.contains(record.image_id)) return false;
    if (record.created >= before_ || record.created <= since_) return false;
    if (!MatchNetworks(record)) return false;
    std::string_view health = state.health ? HealthStatusName(state.health->status) : "none";
    if (!filters_.MatchExact("health", health)) return false;
    // There are no tasks of a swarm here.
    bool wants_tasks = filters_.Has("is-task") && !filters_.MatchExact("is-task", "false") &&
                       !filters_.MatchExact("is-task", "0");
    if (wants_tasks) return false;
    return MatchPorts(record) && MatchMounts(record);
  }

 private:
  explicit Selection(const networks::Controller& networks) : networks_(networks) {}

  // An unknown image is nobody's ancestor.
  Result<> FindDescendants(ImageIndex& images) {
    std::vector<std::shared_ptr<const ImageDocuments>> ancestors;
    for (const std::string& image : filters_.Values("ancestor")) {
      Result<NamedImage> found = images.Resolve(image);
      if (!found.ok()) continue;
      descendants_.insert(found->documents->id);
      ancestors.push_back(found->documents);
    }
    if (ancestors.empty()) return {};
    for (const NamedImage& image : TRY(images.List())) {
      bool descends = std::any_of(ancestors.begin(), ancestors.end(), [&](const auto& ancestor) {
        return DescendsFrom(*image.documents, *ancestor);
      });
      if (descends) descendants_.insert(image.documents->id);
    }
    return {};
  }

  // By name, id or the beginning of an id.
  bool MatchNetworks(const ContainerRecord& record) const {
    if (!filters_.Has("network")) return true;
    const auto& networks = record.networking.endpoints_config;
    return std::any_of(networks.begin(), networks.end(), [&](const auto& entry) {
      if (filters_.MatchExact("network", entry.first)) return true;
      auto network = FindNetwork(networks_, entry.first);
      return network.ok() && filters_.MatchPrefix("network", network->id);
    });
  }

  // As docker has it: a port of the host that is published, or one of the container that is exposed
  // or published, of one that runs. With both filters either is enough.
  bool MatchPorts(const ContainerRecord& record) const {
    if (published_.empty() && exposed_.empty()) return true;
    Json ports = PortsList(record, networks_.EndpointsOf(record.id));
    return std::any_of(ports.items().begin(), ports.items().end(), [&](const Json& port) {
      auto within = [&](const char* key) {
        return [&port, number = port[key].AsInt()](const PortRange& range) {
          return range.first <= number && number <= range.last &&
                 range.protocol == port["Type"].AsString();
        };
      };
      return std::any_of(published_.begin(), published_.end(), within("PublicPort")) ||
             std::any_of(exposed_.begin(), exposed_.end(), within("PrivatePort"));
    });
  }

  bool MatchMounts(const ContainerRecord& record) const {
    const auto& wanted = filters_.Values("volume");
    if (wanted.empty()) return true;
    return std::any_of(record.mounts.begin(), record.mounts.end(), [&](const MountPoint& mount) {
      const std::string& source = mount.name.empty() ? mount.source : mount.name;
      return std::any_of(wanted.begin(), wanted.end(), [&](const std::string& volume) {
        return volume == source || volume == mount.destination;
      });
    });
  }

  const networks::Controller& networks_;
  Filters filters_;
  bool all_ = false;
  std::set<std::string> descendants_;  // the ids of "ancestor" and of what was made from them
  std::vector<PortRange> published_, exposed_;
  WallTime before_ = WallTime::max();
  WallTime since_ = WallTime::min();
};

// The names that containers are known by as the end of somebody's link: "/PARENT/ALIAS", by id.
using LinkNames = std::map<std::string, std::vector<std::string>>;

LinkNames NamesByLinks(Engine& engine, const std::vector<Container::RecordPointer>& all) {
  LinkNames out;
  for (const auto& record : all) {
    for (const std::string& link : record->host.links) {
      auto [name, alias] = ParseLink(link);
      auto child = engine.Find(name);
      if (child.ok()) out[(*child)->id()].push_back(fmt::format("/{}/{}", record->name, alias));
    }
  }
  return out;
}

Json AllNames(const ContainerRecord& record, std::vector<std::string> names) {
  names.push_back("/" + record.name);
  std::sort(names.begin(), names.end());
  return names;
}

// What the rows that are kept as text have not got.
Result<> RespondWithMore(Call& call, const std::vector<Container::RecordPointer>& records,
                         const LinkNames& link_names, WallTime now) {
  bool sizes = call.query().GetBool("size");
  Json out = Json::MakeArray();
  for (const Container::RecordPointer& record : records) {
    Json entry = ListObject(call.engine(), *record, now);
    auto links = link_names.find(record->id);
    if (links != link_names.end()) entry.Set("Names", AllNames(*record, links->second));
    if (sizes) AddSizes(call.engine(), *record, &entry);
    out.Append(std::move(entry));
  }
  return RespondJson(call, 200, std::move(out));
}

}  // namespace

Result<> ListContainers(Call& call) {
  Selection selection = TRY(Selection::Make(call));
  int64_t limit = TRY(IntParameter(call, "limit", -1));
  WallTime now = WallClock::now();
  std::vector<Container::RecordPointer> records;
  std::vector<Container::RecordPointer> all = call.engine().List();
  for (const auto& record : all) {
    if (limit > 0 && static_cast<int64_t>(records.size()) >= limit) break;
    if (selection.Matches(*record)) records.push_back(record);
  }
  LinkNames link_names = NamesByLinks(call.engine(), all);
  if (call.query().GetBool("size") || !link_names.empty()) {
    return RespondWithMore(call, records, link_names, now);
  }
  call.exchange.headers().Set("Content-Type", "application/json");
  return call.exchange.Respond(200,
                               call.parts.list_rows->Dump(call.engine(), call.minor, records, now));
}

}  // namespace gantry::engine::api
