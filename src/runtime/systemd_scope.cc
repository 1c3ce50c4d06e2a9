// SPDX-License-Identifier: Apache-2.0
#include "runtime/systemd_scope.h"

#include <signal.h>

#include <cstdlib>

#include "runtime/dbus_client.h"

namespace gantry::runtime {
namespace {

using formats::DbusMessage;
using formats::DbusValue;

// systemd itself gives up on a job of a scope before; under load a minute has been seen.
constexpr auto kLimit = std::chrono::seconds(90);
constexpr char kSystemBus[] = "/run/dbus/system_bus_socket";

Result<std::string> BusSocket(SystemdInstance instance) {
  bool system = instance == SystemdInstance::kSystem;
  const char* address = ::getenv(system ? "DBUS_SYSTEM_BUS_ADDRESS" : "DBUS_SESSION_BUS_ADDRESS");
  if (address != nullptr && *address != '\0') return SocketOfBusAddress(address);
  if (system) return std::string(kSystemBus);
  const char* directory = ::getenv("XDG_RUNTIME_DIR");
  if (directory == nullptr || *directory == '\0') {
    return FailedPrecondition(
        "the user's systemd: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set");
  }
  return std::string(directory) + "/bus";
}

Result<DbusClient> ConnectManager(SystemdInstance instance) {
  Result<DbusClient> client = DbusClient::Connect(TRY(BusSocket(instance)), kLimit);
  if (client.ok()) return client;
  Error error = std::move(client).error().AddContext("the systemd cgroup manager");
  error.AddHint("is systemd running here, and D-Bus?");
  return error;
}

DbusMessage ManagerCall(std::string member, std::vector<DbusValue> body) {
  DbusMessage call;
  call.destination = "org.freedesktop.systemd1";
  call.path = "/org/freedesktop/systemd1";
  call.interface = "org.freedesktop.systemd1.Manager";
  call.member = std::move(member);
  call.body = std::move(body);
  return call;
}

DbusValue PropertyList(const UnitProperties& properties) {
  std::vector<DbusValue> list;
  for (const auto& [name, value] : properties) {
    list.push_back(DbusValue::Struct({DbusValue::String(name), DbusValue::Variant(value)}));
  }
  return DbusValue::Array("(sv)", std::move(list));
}

// JobRemoved tells of every job; it is sent to those who ask for it twice, systemd and the bus.
Result<> ListenToJobs(DbusClient* client) {
  DbusMessage match;
  match.destination = match.interface = "org.freedesktop.DBus";
  match.path = "/org/freedesktop/DBus";
  match.member = "AddMatch";
  match.body = {DbusValue::String(
      "type='signal',sender='org.freedesktop.systemd1',path='/org/freedesktop/systemd1',"
      "interface='org.freedesktop.systemd1.Manager',member='JobRemoved'")};
  TRY_WITH(client->Call(std::move(match)), "listening to systemd");
  TRY_WITH(client->Call(ManagerCall("Subscribe", {})), "listening to systemd");
  return {};
}

// The job's result: "done", "failed", "timeout", … JobRemoved carries its id, path, unit, result.
Result<std::string> AwaitJob(DbusClient* client, std::string_view job) {
  for (;;) {
    DbusMessage signal = TRY_WITH(client->NextSignal(), "waiting for systemd's job");
    if (signal.member != "JobRemoved" || signal.body.size() != 4) continue;
    if (signal.body[1].Text() == job) return std::string(signal.body[3].Text());
  }
}

Result<std::string> RunJob(DbusClient* client, DbusMessage call) {
  std::vector<DbusValue> reply = TRY(client->Call(std::move(call)));
  if (reply.empty() || reply[0].signature != "o") return Internal("systemd: unexpected reply");
  return AwaitJob(client, reply[0].Text());
}

UnitProperties AllProperties(const ScopeRequest& request) {
  UnitProperties all = {
      {"Description", DbusValue::String(request.description)},
      {"Slice", DbusValue::String(request.name.slice)},
      {"PIDs", DbusValue::Array("u", {DbusValue::Uint32(static_cast<uint32_t>(request.pid))})},
      // What is below the scope's cgroup is the container's own.
      {"Delegate", DbusValue::Bool(true)},
      {"MemoryAccounting", DbusValue::Bool(true)},
      {"CPUAccounting", DbusValue::Bool(true)},
      {"IOAccounting", DbusValue::Bool(true)},
      {"TasksAccounting", DbusValue::Bool(true)},
      // At shutdown it is stopped by whoever manages containers, not ahead of them.
      {"DefaultDependencies", DbusValue::Bool(false)},
  };
  all.insert(all.end(), request.properties.begin(), request.properties.end());
  return all;
}

}  // namespace

Result<> StartScope(SystemdInstance instance, const ScopeRequest& request) {
  DbusClient client = TRY(ConnectManager(instance));
  TRY(ListenToJobs(&client));
  const std::string& unit = request.name.unit;
  // "fail": an existing unit of that name is somebody's; nothing is replaced.
  DbusMessage start =
      ManagerCall("StartTransientUnit",
                  {DbusValue::String(unit), DbusValue::String("fail"),
                   PropertyList(AllProperties(request)), DbusValue::Array("(sa(sv))", {})});
  Result<std::string> result = RunJob(&client, start);
  if (!result.ok() && result.error().kind() == ErrorKind::kAlreadyExists) {
    // One that has failed stays until it is forgotten; one that runs makes the second try fail too.
    (void)client.Call(ManagerCall("ResetFailedUnit", {DbusValue::String(unit)}));
    result = RunJob(&client, start);
  }
  std::string word = TRY_WITH(std::move(result), "starting systemd unit '{}'", unit);
  if (word == "done") return {};
  (void)client.Call(ManagerCall("ResetFailedUnit", {DbusValue::String(unit)}));
  return FailedPrecondition("starting systemd unit '{}': its job ended as '{}'", unit, word);
}

Result<> SetScopeProperties(SystemdInstance instance, const std::string& unit,
                            const UnitProperties& properties) {
  if (properties.empty()) return {};
  DbusClient client = TRY(ConnectManager(instance));
  TRY_WITH(
      client.Call(ManagerCall("SetUnitProperties", {DbusValue::String(unit), DbusValue::Bool(true),
                                                    PropertyList(properties)})),
      "changing systemd unit '{}'", unit);
  return {};
}

Result<> AttachToScope(SystemdInstance instance, const std::string& unit, pid_t pid) {
  DbusClient client = TRY(ConnectManager(instance));
  TRY_WITH(client.Call(ManagerCall(
               "AttachProcessesToUnit",
               {DbusValue::String(unit), DbusValue::String(""),
                DbusValue::Array("u", {DbusValue::Uint32(static_cast<uint32_t>(pid))})})),
           "joining systemd unit '{}'", unit);
  return {};
}

Result<> StopScope(SystemdInstance instance, const std::string& unit) {
  DbusClient client = TRY(ConnectManager(instance));
  TRY(ListenToJobs(&client));
  // A stop alone would wait for those that ignore SIGTERM.
  (void)client.Call(ManagerCall("KillUnit", {DbusValue::String(unit), DbusValue::String("all"),
                                             DbusValue{"i", int64_t{SIGKILL}}}));
  Result<std::string> stopped = RunJob(
      &client, ManagerCall("StopUnit", {DbusValue::String(unit), DbusValue::String("replace")}));
  if (!stopped.ok() && stopped.error().kind() != ErrorKind::kNotFound) {
    return std::move(stopped).error().AddContext(fmt::format("stopping systemd unit '{}'", unit));
  }
  // Only one that has failed is still there.
  (void)client.Call(ManagerCall("ResetFailedUnit", {DbusValue::String(unit)}));
  return {};
}

}  // namespace gantry::runtime
