/* SPDX-License-Identifier: GPL-2.0 */
/*
 * JSON as RFC 8259 has it, to the letter, but that bytes beyond ASCII are not
 * allowed: the module escapes them. A value is a pointer to its first character.
 */
#ifndef __PIDNS_JSON_H
#define __PIDNS_JSON_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JSON_DEPTH	8

/* None of these passes the end of the text, which is a 0. */
static inline const char *json_space(const char *p)
{
	return p + strspn(p, " \t\r\n");
}

static inline const char *json_digits(const char *p)
{
	size_t n = strspn(p, "0123456789");

	return n ? p + n : NULL;
}

static inline const char *json_number_end(const char *p)
{
	p += *p == '-';
	p = *p == '0' ? p + 1 : json_digits(p);
	if (p && *p == '.')
		p = json_digits(p + 1);
	if (p && (*p == 'e' || *p == 'E')) {
		p++;
		p = json_digits(p + (*p == '+' || *p == '-'));
	}
	return p;
}

static inline const char *json_string_end(const char *p)
{
	if (*p++ != '"')
		return NULL;
	for (; *p != '"'; p++) {
		if (*p < ' ' || *p > '~')
			return NULL;
		if (*p != '\\')
			continue;
		p++;
		if (*p == 'u' && strspn(p + 1, "0123456789abcdefABCDEF") >= 4)
			p += 4;
		else if (!*p || !strchr("\"\\/bfnrt", *p))
			return NULL;
	}
	return p + 1;
}

static inline const char *json_value_end(const char *p, int depth);

/* What is between the brackets of an object or of an array. */
static inline const char *json_inside_end(const char *p, char bracket, int depth)
{
	p = json_space(p + 1);
	if (*p == bracket)
		return p + 1;
	for (;;) {
		if (bracket == '}') {
			p = json_string_end(p);
			if (!p)
				return NULL;
			p = json_space(p);
			if (*p++ != ':')
				return NULL;
			p = json_space(p);
		}
		p = json_value_end(p, depth);
		if (!p)
			return NULL;
		p = json_space(p);
		if (*p == bracket)
			return p + 1;
		if (*p++ != ',')
			return NULL;
		p = json_space(p);
	}
}

static inline const char *json_value_end(const char *p, int depth)
{
	static const char * const words[] = { "null", "true", "false" };
	size_t i;

	if (!depth)
		return NULL;
	switch (*p) {
	case '{':
		return json_inside_end(p, '}', depth - 1);
	case '[':
		return json_inside_end(p, ']', depth - 1);
	case '"':
		return json_string_end(p);
	case 'n':
	case 't':
	case 'f':
		for (i = 0; i < 3; i++)
			if (!strncmp(p, words[i], strlen(words[i])))
				return p + strlen(words[i]);
		return NULL;
	default:
		return json_number_end(p);
	}
}

/* The end of the value, or NULL if it is none. */
static inline const char *json_end(const char *value)
{
	return json_value_end(value, JSON_DEPTH);
}

/* The value of that name in an object, which must be valid; NULL if none is. */
static inline const char *json_member(const char *object, const char *name)
{
	const char *p, *end;

	if (!object || *object != '{')
		return NULL;
	for (p = json_space(object + 1); *p == '"'; p = json_space(p + 1)) {
		end = json_string_end(p);
		if (strlen(name) == (size_t)(end - p - 2) && !strncmp(p + 1, name, end - p - 2))
			return json_space(json_space(end) + 1);
		p = json_space(json_end(json_space(json_space(end) + 1)));
		if (*p != ',')
			break;
	}
	return NULL;
}

/* Element @i of an array, which must be valid; NULL if it has less. */
static inline const char *json_element(const char *array, int i)
{
	const char *p;

	if (!array || *array != '[')
		return NULL;
	p = json_space(array + 1);
	while (*p != ']') {
		if (!i--)
			return p;
		p = json_space(json_end(p));
		if (*p == ',')
			p = json_space(p + 1);
	}
	return NULL;
}

static inline int json_length(const char *array)
{
	int n = 0;

	while (json_element(array, n))
		n++;
	return n;
}

/* The number of that name in an object; -1 if there is none. */
static inline long long json_number(const char *object, const char *name)
{
	const char *value = json_member(object, name);

	return value && (*value == '-' || json_digits(value)) ? strtoll(value, NULL, 10) : -1;
}

/* The bytes of a string, where a \u00NN is one; false if it is no string. */
static inline bool json_text(const char *value, char *text, size_t size)
{
	static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
	unsigned int code;
	const char *p;

	if (!value || *value != '"')
		return false;
	for (p = value + 1; *p != '"' && size > 1; size--) {
		if (*p != '\\') {
			*text++ = *p++;
		} else if (sscanf(p, "\\u%4x", &code) == 1) {
			*text++ = code;
			p += 6;
		} else {
			const char *c = strchr(from, p[1]);

			*text++ = c ? to[c - from] : p[1];
			p += 2;
		}
	}
	*text = 0;
	return *p == '"';
}

/* Whether the member of that name is, letter for letter, what is asked for. */
__attribute__((format(printf, 3, 4)))
static inline bool json_is(const char *object, const char *name, const char *fmt, ...)
{
	const char *value = json_member(object, name), *end;
	char want[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(want, sizeof(want), fmt, args);
	va_end(args);
	if (!value)
		return false;
	end = json_end(value);
	return (size_t)(end - value) == strlen(want) && !strncmp(value, want, end - value);
}

/* Whether the member of that name is a string of these bytes. */
static inline bool json_says(const char *object, const char *name, const char *want)
{
	char text[512];

	return json_text(json_member(object, name), text, sizeof(text)) && !strcmp(text, want);
}

#endif /* __PIDNS_JSON_H */
