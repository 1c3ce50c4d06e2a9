// SPDX-License-Identifier: Apache-2.0
//
// What rtnetlink's messages about an interface begin with (rtnetlink(7)). For the files of this
// folder that make such messages.
#pragma once

#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sys/socket.h>

namespace gantry::kernel {

// This interface, or with 0 a new one or one that an attribute names; whether it is up stays.
inline ifinfomsg ThisLink(int index) {
  ifinfomsg header{};
  header.ifi_family = AF_UNSPEC;
  header.ifi_index = index;
  return header;
}

// The same, and it is to be up.
inline ifinfomsg UpLink(int index) {
  ifinfomsg header = ThisLink(index);
  header.ifi_flags = IFF_UP;
  header.ifi_change = IFF_UP;
  return header;
}

}  // namespace gantry::kernel
