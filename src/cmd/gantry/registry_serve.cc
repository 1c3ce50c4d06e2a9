// SPDX-License-Identifier: Apache-2.0
//
// gantry registry serve: becomes gantry-registry, which lies beside this program. The flags are its
// own (cmd/gantry-registry/options.cc); here they are known for help, completion and man pages.
#include <unistd.h>

#include <filesystem>
#include <system_error>

#include "cmd/gantry/command_list.h"

namespace gantry::cli {
namespace {

constexpr const char* kProgram = "gantry-registry";

struct ServeFlags {
  bool store = false;
  bool writable = false;
  std::string containerd;
  std::string name_space;
  std::vector<std::string> addresses;
  std::string certificate;
  std::string key;
  std::string client_authority;
  std::string passwords;
  bool anonymous_pull = false;
  bool read_only = false;
};

void Bind(Flags* flags, ServeFlags* values) {
  flags->Bool("store", 0, &values->store, "The images of a container daemon");
  flags->Bool("writable", 0, &values->writable,
              "With --store: what others push becomes an image of that daemon");
  flags->String("containerd", 0, &values->containerd,
                "Socket of that daemon (default /run/gantry/containerd.sock)");
  flags->String("namespace", 0, &values->name_space, "Its namespace (default gantry)");
  flags->List("address", 'a', &values->addresses,
              "HOST:PORT or unix:///PATH to listen on (default 127.0.0.1:5000)");
  flags->String("tls-cert", 0, &values->certificate, "Certificate and chain, PEM");
  flags->String("tls-key", 0, &values->key, "Key of the certificate, PEM");
  flags->String("tls-client-ca", 0, &values->client_authority,
                "Clients need a certificate of this authority");
  flags->String("htpasswd", 0, &values->passwords, "Names and bcrypt hashes (htpasswd -B)");
  flags->Bool("anonymous-pull", 0, &values->anonymous_pull, "Only who writes needs a password");
  flags->Bool("read-only", 0, &values->read_only, "Nobody writes");
}

std::vector<std::string> ArgumentsOf(const ServeFlags& values,
                                     const std::vector<std::string>& directories) {
  std::vector<std::string> words = {kProgram, "serve"};
  for (const std::string& address : values.addresses) words.push_back("--address=" + address);
  auto add = [&](const char* flag, const std::string& value) {
    if (!value.empty()) words.push_back(fmt::format("--{}={}", flag, value));
  };
  add("containerd", values.containerd);
  add("namespace", values.name_space);
  add("tls-cert", values.certificate);
  add("tls-key", values.key);
  add("tls-client-ca", values.client_authority);
  add("htpasswd", values.passwords);
  if (values.anonymous_pull) words.emplace_back("--anonymous-pull");
  if (values.read_only) words.emplace_back("--read-only");
  if (values.store) words.emplace_back("--store");
  if (values.writable) words.emplace_back("--writable");
  for (const std::string& directory : directories) {
    words.push_back(directory.starts_with('-') ? "./" + directory : directory);
  }
  return words;
}

}  // namespace

Result<int> RegistryServeCommand(Cli&, Invocation& call) {
  ServeFlags values;
  Bind(&call.flags, &values);
  if (auto code = call.Parse(ArgCount::AtMost(1))) return *code;
  std::error_code error;
  std::string program =
      std::filesystem::read_symlink("/proc/self/exe", error).replace_filename(kProgram);
  if (error) return ErrnoErrorOf(error.value(), "reading /proc/self/exe");
  std::vector<std::string> words = ArgumentsOf(values, call.args());
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  ::execv(program.c_str(), arguments.data());
  return ErrnoError("starting '{}'", program);
}

}  // namespace gantry::cli
