// Swagger UI on this service's OpenAPI document. Its validator would send the document to another host.

window.SwaggerUIBundle({ url: 'openapi.json', dom_id: '#docs', deepLinking: true, validatorUrl: null });
