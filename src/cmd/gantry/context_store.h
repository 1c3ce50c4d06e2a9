// SPDX-License-Identifier: Apache-2.0
//
// Contexts: names for engines, in docker's layout, so that both programs see the same ones.
//
//   contexts/meta/<sha256 of the name>/meta.json
//   contexts/tls/<sha256 of the name>/docker/{ca,cert,key}.pem
//   contexts/tls/<sha256 of the name>/<other endpoint>/<file>
//
// One thread; two programs that write the same context at a time leave one of the two whole.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/error.h"
#include "cmd/gantry/endpoint.h"
#include "formats/json.h"

namespace gantry::cli {

struct Context {
  std::string name;
  formats::Json meta;  // the file as it is
  const std::string& host() const { return meta["Endpoints"]["docker"]["Host"].AsString(); }
  bool skip_verify() const { return meta["Endpoints"]["docker"]["SkipTLSVerify"].AsBool(); }
  const std::string& description() const { return meta["Metadata"]["Description"].AsString(); }
};

struct TlsContents {
  std::string ca, certificate, key;  // PEM text; empty: none
  // Of endpoints that we don't use: "kubernetes/ca.pem" and its content. They are kept for the
  // programs that do.
  std::map<std::string, std::string> others;
  bool empty() const { return ca.empty() && certificate.empty() && key.empty(); }
};

class ContextStore {
 public:
  explicit ContextStore(std::string directory) : directory_(std::move(directory)) {}

  // Errors: a name that can't be one; "default", which is no file.
  static Result<> CheckName(const std::string& name);

  // kNotFound: `context "x": context not found: open …`.
  Result<Context> Find(const std::string& name) const;
  // By name.
  Result<std::vector<Context>> List() const;
  // Makes it or replaces it. `tls` replaces the files of the former, when given.
  Result<> Save(const Context& context, const TlsContents* tls) const;
  Result<> Remove(const std::string& name) const;

  std::string MetaDirectory(const std::string& name) const;
  std::string TlsDirectory(const std::string& name) const;
  // Paths of those files that there are.
  TlsSettings TlsFiles(const std::string& name) const;
  Result<TlsContents> ReadTls(const std::string& name) const;

 private:
  std::string directory_;
};

// Where the context's engine is, with its TLS files.
Result<DaemonEndpoint> ContextEndpoint(const Context& context, TlsSettings files);

}  // namespace gantry::cli
