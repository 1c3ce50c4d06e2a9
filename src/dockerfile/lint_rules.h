// SPDX-License-Identifier: Apache-2.0
//
// The rules of lint.h. Their names and pages are those that users know from BuildKit.
#pragma once

#include "dockerfile/lint.h"

namespace gantry::dockerfile {

inline constexpr Rule kStageNameCasing{"StageNameCasing", "stage-name-casing",
                                       "Names of stages are lower case"};
inline constexpr Rule kFromAsCasing{"FromAsCasing", "from-as-casing",
                                    "FROM and AS are both upper case or both lower case"};
inline constexpr Rule kNoEmptyContinuation{
    "NoEmptyContinuation", "no-empty-continuation",
    "An instruction that goes on over several lines has no empty ones"};
inline constexpr Rule kConsistentInstructionCasing{
    "ConsistentInstructionCasing", "consistent-instruction-casing",
    "All commands of a Dockerfile are upper case or all are lower case"};
inline constexpr Rule kDuplicateStageName{"DuplicateStageName", "duplicate-stage-name",
                                          "No two stages have the same name"};
inline constexpr Rule kReservedStageName{"ReservedStageName", "reserved-stage-name",
                                         "No stage is called \"scratch\" or \"context\""};
inline constexpr Rule kJsonArgsRecommended{
    "JSONArgsRecommended", "json-args-recommended",
    "CMD and ENTRYPOINT as JSON run without a shell, which would keep signals from the program"};
inline constexpr Rule kMaintainerDeprecated{
    "MaintainerDeprecated", "maintainer-deprecated",
    "MAINTAINER is deprecated: the author of an image belongs in a label"};
inline constexpr Rule kUndefinedArgInFrom{"UndefinedArgInFrom", "undefined-arg-in-from",
                                          "FROM uses only what ARG has declared before it"};
inline constexpr Rule kWorkdirRelativePath{
    "WorkdirRelativePath", "workdir-relative-path",
    "The first WORKDIR of a Dockerfile is absolute, so that another base image changes nothing"};
inline constexpr Rule kUndefinedVar{"UndefinedVar", "undefined-var",
                                    "Variables are defined before they are used"};
inline constexpr Rule kMultipleInstructionsDisallowed{
    "MultipleInstructionsDisallowed", "multiple-instructions-disallowed",
    "A stage has CMD, ENTRYPOINT and HEALTHCHECK once at most"};
inline constexpr Rule kLegacyKeyValueFormat{"LegacyKeyValueFormat", "legacy-key-value-format",
                                            "Names and values are joined by \"=\", not by a blank"};
inline constexpr Rule kInvalidBaseImagePlatform{
    "InvalidBaseImagePlatform", "", "A base image is for the platform that is built for"};
inline constexpr Rule kRedundantTargetPlatform{
    "RedundantTargetPlatform", "redundant-target-platform",
    "FROM takes $TARGETPLATFORM by itself: a flag that says so is superfluous"};
inline constexpr Rule kSecretsUsedInArgOrEnv{
    "SecretsUsedInArgOrEnv", "secrets-used-in-arg-or-env",
    "ARG and ENV hold no secrets, since the image shows what they have"};
inline constexpr Rule kInvalidDefaultArgInFrom{"InvalidDefaultArgInFrom",
                                               "invalid-default-arg-in-from",
                                               "The defaults of ARG give FROM a name of an image"};
inline constexpr Rule kFromPlatformFlagConstDisallowed{"FromPlatformFlagConstDisallowed",
                                                       "from-platform-flag-const-disallowed",
                                                       "--platform of FROM is no constant"};
inline constexpr Rule kCopyIgnoredFile{"CopyIgnoredFile", "copy-ignored-file",
                                       "COPY and ADD take nothing that .dockerignore leaves out"};
inline constexpr Rule kInvalidDefinitionDescription{
    "InvalidDefinitionDescription", "invalid-definition-description",
    "A comment right above ARG or FROM begins with the name that it describes; an empty comment "
    "parts others from the instruction",
    true};
inline constexpr Rule kExposeProtoCasing{"ExposeProtoCasing", "expose-proto-casing",
                                         "Protocols of EXPOSE are lower case"};
inline constexpr Rule kExposeInvalidFormat{
    "ExposeInvalidFormat", "expose-invalid-format",
    "EXPOSE names ports of the container, no addresses and no ports of the host"};

}  // namespace gantry::dockerfile
