// SPDX-License-Identifier: Apache-2.0
//
// The least that a program can cost: what a start of `gantry` is compared with.
int main() { return 0; }
