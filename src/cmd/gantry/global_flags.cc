// SPDX-License-Identifier: Apache-2.0
//
// The options in front of the command.
#include "cmd/gantry/command.h"

namespace gantry::cli {

void BindGlobalFlags(Flags* flags, Cli::Options* options, bool* version) {
  flags->String("config", 0, &options->config_dir,
                "Directory of the client's configuration (default \"~/.docker\")");
  flags->String("context", 'c', &options->context,
                "Context to use: overrides the variables of the environment and what \"context "
                "use\" has set");
  flags->Bool("debug", 'D', &options->debug, "Say more");
  flags->List("host", 'H', &options->hosts,
              "Daemon to connect to: unix://PATH, tcp://HOST:PORT, ssh://[USER@]HOST");
  flags->String("log-level", 'l', &options->log_level,
                "\"debug\", \"info\", \"warn\", \"error\" or \"fatal\" (default \"info\")");
  flags->Bool("tls", 0, &options->tls, "Speak TLS, without looking who answers");
  flags->String("tlscacert", 0, &options->tls_ca,
                "Certificates to trust (default \"ca.pem\" of the configuration)");
  flags->String("tlscert", 0, &options->tls_cert,
                "Our certificate (default \"cert.pem\" of the configuration)");
  flags->String("tlskey", 0, &options->tls_key,
                "The key of our certificate (default \"key.pem\" of the configuration)");
  flags->Bool("tlsverify", 0, &options->tls_verify, "Speak TLS and make sure who answers");
  flags->Bool("version", 'v', version, "Print the version and quit");
}

}  // namespace gantry::cli
